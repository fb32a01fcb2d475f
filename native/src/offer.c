#define _GNU_SOURCE
#include "offer.h"

#include <linux/net_tstamp.h>
#include <linux/tcp.h> /* its tcp_info has all members */
#include <netinet/in.h>
#include <sys/socket.h>

enum {
    OFFER_BYTES = 16384,
    IDLE_SECONDS = 5,  /* without a word of either side: whether the container still knows the connection */
    IDLE_LATER = 7200, /* tcp(7), tcp_keepalive_time */
    STATE_CLOSE = 7,   /* tcp_states.h of the kernel */
};

static void set(int fd, int level, int option, int value) {
    setsockopt(fd, level, option, &value, sizeof(value));
}

void offer_prepare(int target) {
    /* The acknowledgement comes as an event, EPOLLERR, and as an empty message of the error queue (timestamping). */
    set(target, SOL_SOCKET, SO_TIMESTAMPING,
        SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
    set(target, IPPROTO_TCP, TCP_KEEPIDLE, IDLE_SECONDS);
}

/* What became of a connection so far; false: nobody knows. */
static bool look(int target, struct tcp_info *info) {
    socklen_t length = sizeof(*info);

    return getsockopt(target, IPPROTO_TCP, TCP_INFO, info, &length) == 0;
}

bool offer_heard(int target) {
    struct tcp_info info = {0};

    while (recv(target, NULL, 0, MSG_ERRQUEUE) >= 0)
        ;
    return look(target, &info) && info.tcpi_state != STATE_CLOSE;
}

static enum offer_state make(struct offer *offer, int client, int target, const struct tcp_info *info) {
    static char data[OFFER_BYTES];
    ssize_t got = recv(client, data, sizeof(data), MSG_PEEK);

    if (got > 0)
        got = send(target, data, (size_t)got, MSG_NOSIGNAL);
    else if (got == 0)
        shutdown(target, SHUT_WR);
    if (got < 0)
        return OFFER_WAITS; /* for either side; a failure is an event of its own */
    *offer = (struct offer){.made = true, .bytes = (size_t)got, .resent = info->tcpi_total_retrans};
    return OFFER_WAITS;
}

static enum offer_state take(struct offer *offer, int client, int target) {
    set(target, SOL_SOCKET, SO_TIMESTAMPING, 0);
    set(target, IPPROTO_TCP, TCP_KEEPIDLE, IDLE_LATER);
    while (offer->bytes > 0) {
        ssize_t got = recv(client, NULL, offer->bytes, MSG_TRUNC); /* dropped, not copied: tcp(7) */
        if (got <= 0)
            return OFFER_FAILED;
        offer->bytes -= (size_t)got;
    }
    return OFFER_TAKEN;
}

enum offer_state offer_pump(struct offer *offer, int client, int target) {
    struct tcp_info info = {0};

    if (!look(target, &info))
        return OFFER_FAILED;
    /* The call itself, SYN, counts as a byte. */
    if (info.tcpi_bytes_acked > 1 || info.tcpi_bytes_received > 0)
        return take(offer, client, target);
    /* A program that resets what it has accepted does so at once. This answered what was sent again, or a probe. */
    if (info.tcpi_state == STATE_CLOSE)
        return info.tcpi_total_retrans > offer->resent || info.tcpi_probes > 0 ? OFFER_LOST : OFFER_FAILED;
    return offer->made ? OFFER_WAITS : make(offer, client, target, &info);
}
