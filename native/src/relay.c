#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 128, ACCEPTS = 64, PAUSE_MS = 100 };

struct relay {
    int epoll;
    struct listener *listeners;
    size_t listener_count;
    size_t open, limit;
    bool paused;  /* no listener is watched */
    bool starved; /* because the system is short of something: try again after a while */
    struct pipe_pool pool;
    struct conn *queue; /* connections to pump */
};

static int watch_listener(struct relay *relay, struct listener *listener, int operation) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->watch};

    return epoll_ctl(relay->epoll, operation, listener->fd, &event);
}

static void pause_accepting(struct relay *relay, bool starved) {
    relay->starved |= starved;
    if (relay->paused)
        return;
    relay->paused = true;
    for (size_t i = 0; i < relay->listener_count; i++)
        watch_listener(relay, &relay->listeners[i], EPOLL_CTL_DEL);
}

static void resume_accepting(struct relay *relay) {
    relay->paused = relay->starved = false;
    for (size_t i = 0; i < relay->listener_count; i++)
        if (watch_listener(relay, &relay->listeners[i], EPOLL_CTL_ADD) < 0) {
            pause_accepting(relay, true);
            return;
        }
}

static void enqueue(struct relay *relay, struct conn *conn) {
    if (conn->queued)
        return;
    conn->queued = true;
    conn->next = relay->queue;
    relay->queue = conn;
}

/* accept(2): these would wake us again at once, forever. */
static bool starving(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void accept_clients(struct relay *relay, struct listener *listener) {
    for (int i = 0; i < ACCEPTS && !relay->paused; i++) {
        if (relay->open >= relay->limit) {
            pause_accepting(relay, false);
            return;
        }
        int client = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0 && conn_open(relay->epoll, listener, client) != NULL) {
            relay->open++;
            continue;
        }
        if (starving(errno))
            pause_accepting(relay, true);
        if (client < 0)
            return;
    }
}

static void pump_queue(struct relay *relay) {
    struct conn *conn = relay->queue;

    relay->queue = NULL;
    while (conn != NULL) {
        struct conn *next = conn->next;
        conn->queued = false;
        bool again = conn_pump(conn, &relay->pool);
        if (conn->closed) {
            free(conn);
            relay->open--;
        } else if (again) {
            enqueue(relay, conn);
        }
        conn = next;
    }
}

/* False: the lifeline was cut. A connection is freed only in pump_queue, after every event of a batch was seen. */
static bool dispatch(struct relay *relay, const struct epoll_event *events, int count) {
    for (int i = 0; i < count; i++) {
        struct watch *watch = events[i].data.ptr;
        if (watch->source == SOURCE_LIFELINE)
            return false;
        if (watch->source == SOURCE_LISTENER) {
            accept_clients(relay, (struct listener *)(void *)watch);
            continue;
        }
        struct conn *conn = conn_of(watch);
        conn_event(conn, watch->source, events[i].events);
        enqueue(relay, conn);
    }
    return true;
}

static int loop(struct relay *relay) {
    struct epoll_event events[EVENTS];

    for (;;) {
        int timeout = relay->queue != NULL ? 0 : relay->starved ? PAUSE_MS : -1;
        int count = epoll_wait(relay->epoll, events, EVENTS, timeout);
        if (count < 0 && errno != EINTR)
            return -1;
        if (!dispatch(relay, events, count < 0 ? 0 : count))
            return 0;
        pump_queue(relay);
        bool recovered = relay->starved ? count == 0 : true;
        if (relay->paused && recovered && relay->open < relay->limit)
            resume_accepting(relay);
    }
}

int relay_run(struct listener *listeners, size_t count, int lifeline, size_t limit) {
    struct watch lifeline_watch = {SOURCE_LIFELINE};
    /* EPOLLHUP is always reported; the lifeline carries no more data. */
    struct epoll_event event = {.events = 0, .data.ptr = &lifeline_watch};
    struct relay relay = {.listeners = listeners, .listener_count = count, .limit = limit, .paused = true};

    relay.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (relay.epoll < 0 || epoll_ctl(relay.epoll, EPOLL_CTL_ADD, lifeline, &event) < 0)
        return -1;
    resume_accepting(&relay);
    return loop(&relay);
}
