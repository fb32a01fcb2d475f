/* A relayed connection: a client of the host, and its connection to the container. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "dial.h"
#include "flow.h"
#include "offer.h"

enum source { SOURCE_LIFELINE, SOURCE_LISTENER, SOURCE_DATAGRAMS, SOURCE_CLIENT, SOURCE_TARGET, SOURCE_SESSION };

/* What an epoll event points to. */
struct watch {
    enum source source;
};

struct listener {
    struct watch watch;
    int fd;
    const struct dialer *dialer;
    struct sockaddr_storage target;
    socklen_t target_length;
};

struct conn {
    struct watch client_watch, target_watch;
    const struct listener *listener;
    int epoll;
    int client, target;
    int64_t patient_until; /* the container is not called again after that */
    bool connected;
    bool taken; /* the container has the client's offer */
    struct offer offer;
    bool client_failed, target_failed; /* EPOLLERR was seen */
    bool queued, closed;
    struct flow up, down; /* client to container, and back */
    struct conn *next;    /* in the relay's queue */
};

struct conn *conn_of(struct watch *watch);

/*
 * Connect to the listener's target and watch both ends with `epoll`, edge-triggered. Takes `client`, which came from
 * `name`, in any case.
 * NULL with errno: refused at once, or out of memory or descriptors; the client was reset.
 */
struct conn *conn_open(int epoll, const struct listener *listener, int client, const struct sockaddr *name);

/* Note an event of one end. */
void conn_event(struct conn *conn, enum source source, uint32_t events);

/* Move what can be moved. True: call again soon. When it is over, both ends are closed and `closed` is set. */
bool conn_pump(struct conn *conn, struct pipe_pool *pool);
