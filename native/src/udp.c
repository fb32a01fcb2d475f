#define _GNU_SOURCE
#include "udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "session.h"

enum { BATCH = 16, DATAGRAM_BYTES = 65536, ROUNDS = 4, BUFFER_BYTES = 1 << 20, QUEUED_MAX = 1 << 14 };

struct udp {
    struct sessions sessions;
    int64_t idle_ms;
    char data[BATCH][DATAGRAM_BYTES];
};

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec data[BATCH];
    struct origin origins[BATCH];
    union control controls[BATCH];
};

struct udp *udp_create(int epoll, size_t limit, int64_t idle_ms) {
    struct udp *udp = calloc(1, sizeof(*udp));

    if (udp == NULL)
        return NULL;
    sessions_init(&udp->sessions, epoll, limit);
    udp->idle_ms = idle_ms;
    return udp;
}

int udp_prepare(int fd) {
    int on = 1, family = 0, size = BUFFER_BYTES;
    socklen_t length = sizeof(family);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    int result = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on))
                                    : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
    if (result < 0)
        return -1;
    for (int i = 0; i < QUEUED_MAX && recv(fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0; i++)
        ;
    return 0;
}

static void batch_init(struct udp *udp, struct batch *batch, bool origins) {
    memset(batch->messages, 0, sizeof(batch->messages));
    for (size_t i = 0; i < BATCH; i++) {
        struct msghdr *header = &batch->messages[i].msg_hdr;
        batch->data[i] = (struct iovec){udp->data[i], DATAGRAM_BYTES};
        header->msg_iov = &batch->data[i];
        header->msg_iovlen = 1;
        if (origins) {
            memset(&batch->origins[i], 0, sizeof(batch->origins[i]));
            header->msg_name = &batch->origins[i].client;
            header->msg_namelen = sizeof(batch->origins[i].client);
            header->msg_control = &batch->controls[i];
            header->msg_controllen = sizeof(batch->controls[i]);
        }
    }
}

static void read_local(struct msghdr *header, struct origin *origin) {
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL; item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
            memcpy(&origin->local.ipv4, CMSG_DATA(item), sizeof(origin->local.ipv4));
            origin->local.ipv4.ipi_ifindex = 0;
        } else if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
            memcpy(&origin->local.ipv6, CMSG_DATA(item), sizeof(origin->local.ipv6));
            origin->local.ipv6.ipi6_ifindex = 0;
        }
    }
}

/* The answers' header: to the client, from the address that it had sent to. */
static void write_origin(struct msghdr *header, struct origin *origin, union control *control) {
    bool ipv6 = origin->client.any.sa_family == AF_INET6;
    size_t size = ipv6 ? sizeof(origin->local.ipv6) : sizeof(origin->local.ipv4);

    memset(control, 0, sizeof(*control));
    header->msg_name = &origin->client;
    header->msg_namelen = (socklen_t)origin_length(origin);
    header->msg_control = control;
    header->msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *item = CMSG_FIRSTHDR(header);
    item->cmsg_level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
    item->cmsg_type = ipv6 ? IPV6_PKTINFO : IP_PKTINFO;
    item->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(item), &origin->local, size);
}

/* What cannot be sent is lost, as on any network. A refusal that an earlier one met is reported once, and costs none.
 */
static void send_all(int fd, struct mmsghdr *messages, unsigned count) {
    bool refused = false;

    while (count > 0) {
        int sent = sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == ECONNREFUSED && !refused) {
            refused = true;
            continue;
        }
        if (sent < 0)
            sent = 1;
        messages += sent;
        count -= (unsigned)sent;
    }
}

/* Send the messages from `first` to before `next` into a session; they need neither address nor control data there. */
static void into_session(struct session *session, struct batch *batch, int first, int next) {
    for (int i = first; i < next; i++) {
        struct msghdr *header = &batch->messages[i].msg_hdr;
        batch->data[i].iov_len = batch->messages[i].msg_len;
        header->msg_name = header->msg_control = NULL;
        header->msg_namelen = 0;
        header->msg_controllen = 0;
    }
    if (session != NULL)
        send_all(session->fd, &batch->messages[first], (unsigned)(next - first));
}

void udp_from_clients(struct udp *udp, struct listener *listener) {
    struct batch batch;

    sessions_now(&udp->sessions);
    for (int round = 0; round < ROUNDS; round++) {
        batch_init(udp, &batch, true);
        int count = recvmmsg(listener->fd, batch.messages, BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0)
            return;
        for (int i = 0; i < count; i++)
            read_local(&batch.messages[i].msg_hdr, &batch.origins[i]);
        for (int first = 0, next; first < count; first = next) {
            struct session *session = session_of(&udp->sessions, listener, &batch.origins[first]);
            for (next = first + 1;
                 next < count && session != NULL && session_is(session, listener, &batch.origins[next]);)
                next++;
            into_session(session, &batch, first, next);
        }
        if (count < BATCH)
            return;
    }
}

void udp_from_target(struct udp *udp, struct watch *watch) {
    struct session *session = (struct session *)(void *)watch;
    struct batch batch;
    union control control;

    sessions_now(&udp->sessions);
    for (int round = 0; round < ROUNDS && session->fd >= 0; round++) {
        batch_init(udp, &batch, false);
        int count = recvmmsg(session->fd, batch.messages, BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0)
            return; /* also when the container refused: that is all there is to know */
        for (int i = 0; i < count; i++) {
            batch.data[i].iov_len = batch.messages[i].msg_len;
            write_origin(&batch.messages[i].msg_hdr, &session->origin, &control);
        }
        session_touch(&udp->sessions, session);
        send_all(session->listener->fd, batch.messages, (unsigned)count);
        if (count < BATCH)
            return;
    }
}

int udp_expire(struct udp *udp) {
    return sessions_expire(&udp->sessions, udp->idle_ms);
}

void udp_free(struct udp *udp) {
    sessions_expire(&udp->sessions, 0);
    free(udp);
}
