#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "now.h"
#include "udp.h"

enum { EVENTS = 128, ACCEPTS = 64, PAUSE_MS = 100 };

struct relay {
    int epoll;
    struct listener *listeners;
    size_t listener_count;
    size_t open, limit;
    bool paused;     /* no listener is watched */
    int64_t starved; /* because the system is short of something: when to try again; 0: it is not */
    struct pipe_pool pool;
    struct conn *queue; /* connections to pump */
    struct udp *udp;
};

static int watch_listener(struct relay *relay, struct listener *listener, int operation) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->watch};

    return epoll_ctl(relay->epoll, operation, listener->fd, &event);
}

static bool accepts(const struct listener *listener) {
    return listener->watch.source == SOURCE_LISTENER;
}

static void pause_accepting(struct relay *relay, bool starved) {
    if (starved)
        relay->starved = now_ms() + PAUSE_MS;
    if (relay->paused)
        return;
    relay->paused = true;
    for (size_t i = 0; i < relay->listener_count; i++)
        if (accepts(&relay->listeners[i]))
            watch_listener(relay, &relay->listeners[i], EPOLL_CTL_DEL);
}

static void resume_accepting(struct relay *relay) {
    relay->paused = false;
    relay->starved = 0;
    for (size_t i = 0; i < relay->listener_count; i++)
        if (accepts(&relay->listeners[i]) && watch_listener(relay, &relay->listeners[i], EPOLL_CTL_ADD) < 0) {
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
        struct sockaddr_storage name = {0};
        socklen_t length = sizeof(name);
        int client = accept4(listener->fd, (struct sockaddr *)&name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0 && conn_open(relay->epoll, listener, client, (struct sockaddr *)&name) != NULL) {
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
        } else if (watch->source == SOURCE_DATAGRAMS) {
            udp_from_clients(relay->udp, (struct listener *)(void *)watch);
        } else if (watch->source == SOURCE_SESSION) {
            udp_from_target(relay->udp, watch);
        } else {
            struct conn *conn = conn_of(watch);
            conn_event(conn, watch->source, events[i].events);
            enqueue(relay, conn);
        }
    }
    return true;
}

static int next_timeout(const struct relay *relay, int expiry) {
    if (relay->queue != NULL)
        return 0;
    return relay->starved != 0 && (expiry < 0 || expiry > PAUSE_MS) ? PAUSE_MS : expiry;
}

static int loop(struct relay *relay) {
    struct epoll_event events[EVENTS];

    for (;;) {
        int expiry = udp_expire(relay->udp);
        int timeout = next_timeout(relay, expiry);
        int count = epoll_wait(relay->epoll, events, EVENTS, timeout);
        if (count < 0 && errno != EINTR)
            return -1;
        if (!dispatch(relay, events, count < 0 ? 0 : count))
            return 0;
        pump_queue(relay);
        bool recovered = relay->starved == 0 || now_ms() >= relay->starved;
        if (relay->paused && recovered && relay->open < relay->limit)
            resume_accepting(relay);
    }
}

static int watch_datagrams(struct relay *relay) {
    for (size_t i = 0; i < relay->listener_count; i++) {
        struct listener *listener = &relay->listeners[i];
        if (!accepts(listener) && watch_listener(relay, listener, EPOLL_CTL_ADD) < 0)
            return -1;
    }
    return 0;
}

int relay_run(struct listener *listeners, size_t count, int lifeline, const struct limits *limits) {
    struct watch lifeline_watch = {SOURCE_LIFELINE};
    /* EPOLLHUP is always reported; the lifeline carries no more data. */
    struct epoll_event event = {.events = 0, .data.ptr = &lifeline_watch};
    struct relay relay = {
        .listeners = listeners, .listener_count = count, .limit = limits->connections, .paused = true};

    relay.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (relay.epoll < 0 || epoll_ctl(relay.epoll, EPOLL_CTL_ADD, lifeline, &event) < 0)
        return -1;
    relay.udp = udp_create(relay.epoll, limits->sessions, limits->idle_ms);
    if (relay.udp == NULL || watch_datagrams(&relay) < 0)
        return -1;
    resume_accepting(&relay);
    int result = loop(&relay);
    udp_free(relay.udp);
    return result;
}
