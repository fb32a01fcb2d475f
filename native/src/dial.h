/*
 * Connections into the container's network, in the name of the client where that can work: the container then sees the
 * client's address instead of the gateway's. Answers to such a connection go to an address that is not ours. The rules
 * of the network mark them, and a routing rule for this mark brings them here.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { NEAR_MAX = 256 };

struct prefix {
    int family;
    unsigned char address[sizeof(struct in6_addr)];
    int bits;
};

struct dialer {
    uint32_t mark;   /* of these connections' packets; 0: every connection is in the gateway's name */
    bool ipv4, ipv6; /* answers find their way */
    struct prefix near[NEAR_MAX];
    size_t near_count; /* to clients from here the container answers directly, past us */
};

/* Lead packets with `answers` as their mark to this namespace's sockets; needs CAP_NET_ADMIN. Sets `ipv4`, `ipv6`. */
void dial_prepare(struct dialer *dialer, uint32_t answers);

/* One of the container's own subnets, `ADDRESS/BITS`; 0, or -EINVAL. */
int dial_add_near(struct dialer *dialer, const char *subnet);

/*
 * A socket that does not block, connected to `target` or about to be. Falls back on the gateway's name when the
 * client's is refused. -1 with errno.
 */
int dial(const struct dialer *dialer, int type, const struct sockaddr *client, const struct sockaddr *target,
         socklen_t target_length);
