/* The clients of published UDP ports: a table by client and listener, in the order in which they were last heard of. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"

enum { SESSION_BUCKETS = 4096 };

/* Where a datagram came from, and to which address of the host: the answer has that one as its source (ip(7)). */
struct origin {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } client;
    union {
        struct in_pktinfo ipv4;
        struct in6_pktinfo ipv6;
    } local;
};

struct session {
    struct watch watch;
    int fd;
    const struct listener *listener;
    struct origin origin;
    int64_t last;                  /* milliseconds, when a datagram passed */
    struct session *bucket;        /* the next one with this hash; the next one that has ended */
    struct session *older, *newer; /* by `last` */
};

struct sessions {
    int epoll;
    size_t count, limit;
    int64_t now; /* milliseconds; to be kept current by `sessions_now` */
    uint64_t seed;
    struct session *oldest, *newest;
    struct session *ended; /* an event of the batch that is being worked on may still point to them */
    struct session *buckets[SESSION_BUCKETS];
};

void sessions_init(struct sessions *sessions, int epoll, size_t limit);

void sessions_now(struct sessions *sessions);

/* The session of this client, a new one if there is none, for which the oldest may have to go. NULL: it cannot be made.
 */
struct session *session_of(struct sessions *sessions, const struct listener *listener, const struct origin *origin);

bool session_is(const struct session *session, const struct listener *listener, const struct origin *origin);

/* Something passed. */
void session_touch(struct sessions *sessions, struct session *session);

/* End the sessions that were not touched for `idle_ms`; milliseconds until the next one will end, -1: there is none. */
int sessions_expire(struct sessions *sessions, int64_t idle_ms);

/* The bytes of a client's address. */
size_t origin_length(const struct origin *origin);
