#define _GNU_SOURCE
#include "conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "now.h"

enum { PATIENCE_MS = 60000 };

struct conn *conn_of(struct watch *watch) {
    size_t offset =
        watch->source == SOURCE_CLIENT ? offsetof(struct conn, client_watch) : offsetof(struct conn, target_watch);
    return (struct conn *)(void *)((char *)watch - offset);
}

/* Close so that the peer sees a reset, not an end of file. */
static void reset(int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static void tune(int fd) {
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static int watch(int epoll, int fd, struct watch *watch) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = watch};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Connect to the container in the client's `name`. */
static int call(struct conn *conn, const struct sockaddr *name) {
    const struct listener *listener = conn->listener;

    conn->target =
        dial(listener->dialer, SOCK_STREAM, name, (const struct sockaddr *)&listener->target, listener->target_length);
    if (conn->target < 0)
        return -1;
    tune(conn->target);
    offer_prepare(conn->target);
    flow_init(&conn->up, conn->client, conn->target);
    flow_init(&conn->down, conn->target, conn->client);
    return watch(conn->epoll, conn->target, &conn->target_watch);
}

static int call_again(struct conn *conn) {
    struct sockaddr_storage name = {0};
    socklen_t length = sizeof(name);

    if (conn->client_failed || now_ms() >= conn->patient_until)
        return -1;
    if (getpeername(conn->client, (struct sockaddr *)&name, &length) < 0)
        return -1;
    close(conn->target);
    conn->connected = conn->target_failed = false;
    conn->offer = (struct offer){0};
    return call(conn, (const struct sockaddr *)&name);
}

struct conn *conn_open(int epoll, const struct listener *listener, int client, const struct sockaddr *name) {
    struct conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        reset(client);
        errno = ENOMEM;
        return NULL;
    }
    conn->client_watch.source = SOURCE_CLIENT;
    conn->target_watch.source = SOURCE_TARGET;
    conn->listener = listener;
    conn->epoll = epoll;
    conn->client = client;
    conn->target = -1;
    conn->patient_until = now_ms() + PATIENCE_MS;
    tune(client);
    if (call(conn, name) < 0 || watch(epoll, client, &conn->client_watch) < 0) {
        int error = errno;
        reset(conn->client);
        reset(conn->target);
        free(conn);
        errno = error;
        return NULL;
    }
    return conn;
}

void conn_event(struct conn *conn, enum source source, uint32_t events) {
    bool failed = (events & EPOLLERR) != 0;

    if (source == SOURCE_CLIENT) {
        conn->client_failed |= failed;
        return;
    }
    failed = failed && !offer_heard(conn->target);
    conn->target_failed |= failed;
    /* An error while connecting, such as ECONNREFUSED, comes with EPOLLERR. */
    if ((events & EPOLLOUT) != 0 && !failed)
        conn->connected = true;
}

static void finish(struct conn *conn, struct pipe_pool *pool, bool orderly) {
    flow_release(&conn->up, pool);
    flow_release(&conn->down, pool);
    if (orderly) {
        close(conn->client);
        close(conn->target);
    } else {
        reset(conn->client);
        reset(conn->target);
    }
    conn->closed = true;
}

/* Whether the container has taken the connection, not only its kernel for it. */
static bool introduce(struct conn *conn, struct pipe_pool *pool) {
    enum offer_state state = conn->connected ? offer_pump(&conn->offer, conn->client, conn->target) : OFFER_WAITS;

    conn->taken = state == OFFER_TAKEN;
    if (state == OFFER_FAILED || (state == OFFER_LOST && call_again(conn) < 0) ||
        (state == OFFER_WAITS && (conn->client_failed || conn->target_failed)))
        finish(conn, pool, false);
    return conn->taken;
}

bool conn_pump(struct conn *conn, struct pipe_pool *pool) {
    if (!conn->taken && !introduce(conn, pool))
        return false;
    enum flow_state up = flow_pump(&conn->up, pool);
    enum flow_state down = flow_pump(&conn->down, pool);
    /* A client that reset wants nothing more. What a container said before it did may still be on its way. */
    bool dead = conn->client_failed || (conn->target_failed && conn->down.done);
    if (up == FLOW_FAILED || down == FLOW_FAILED) {
        finish(conn, pool, false);
        return false;
    }
    if (conn->up.done && conn->down.done) {
        finish(conn, pool, true);
        return false;
    }
    if (dead && up == FLOW_BLOCKED && down == FLOW_BLOCKED) {
        finish(conn, pool, false);
        return false;
    }
    return up == FLOW_BUSY || down == FLOW_BUSY;
}
