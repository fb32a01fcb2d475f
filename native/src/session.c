#define _GNU_SOURCE
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "now.h"

void sessions_now(struct sessions *table) {
    table->now = now_ms();
}

void sessions_init(struct sessions *table, int epoll, size_t limit) {
    memset(table, 0, sizeof(*table));
    table->epoll = epoll;
    table->limit = limit;
    sessions_now(table);
    table->seed = (uint64_t)table->now * 0x9e3779b97f4a7c15ULL ^ (uint64_t)(uintptr_t)table;
}

size_t origin_length(const struct origin *origin) {
    return origin->client.any.sa_family == AF_INET6 ? sizeof(origin->client.ipv6) : sizeof(origin->client.ipv4);
}

static size_t hash(const struct sessions *table, const struct listener *listener, const struct origin *origin) {
    const unsigned char *bytes = (const unsigned char *)&origin->client;
    uint64_t value = table->seed ^ (uint64_t)(uintptr_t)listener;

    for (size_t i = 0; i < origin_length(origin); i++)
        value = (value ^ bytes[i]) * 0x100000001b3ULL;
    return (size_t)((value ^ value >> 29) % SESSION_BUCKETS);
}

bool session_is(const struct session *session, const struct listener *listener, const struct origin *origin) {
    return session->listener == listener && session->origin.client.any.sa_family == origin->client.any.sa_family &&
           memcmp(&session->origin.client, &origin->client, origin_length(origin)) == 0;
}

static void unlink_age(struct sessions *table, struct session *session) {
    *(session->older != NULL ? &session->older->newer : &table->oldest) = session->newer;
    *(session->newer != NULL ? &session->newer->older : &table->newest) = session->older;
}

static void link_newest(struct sessions *table, struct session *session) {
    session->last = table->now;
    session->older = table->newest;
    session->newer = NULL;
    *(table->newest != NULL ? &table->newest->newer : &table->oldest) = session;
    table->newest = session;
}

void session_touch(struct sessions *table, struct session *session) {
    unlink_age(table, session);
    link_newest(table, session);
}

static void end(struct sessions *table, struct session *session) {
    struct session **link = &table->buckets[hash(table, session->listener, &session->origin)];

    while (*link != session)
        link = &(*link)->bucket;
    *link = session->bucket;
    unlink_age(table, session);
    table->count--;
    close(session->fd);
    session->fd = -1;
    session->bucket = table->ended;
    table->ended = session;
}

static struct session *begin(struct sessions *table, const struct listener *listener, const struct origin *origin) {
    if (table->count >= table->limit)
        end(table, table->oldest);
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    int fd = dial(listener->dialer, SOCK_DGRAM, &origin->client.any, (const struct sockaddr *)&listener->target,
                  listener->target_length);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &session->watch};
    if (fd < 0 || epoll_ctl(table->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        if (fd >= 0)
            close(fd);
        free(session);
        return NULL;
    }
    session->watch.source = SOURCE_SESSION;
    session->fd = fd;
    session->listener = listener;
    session->origin = *origin;
    struct session **bucket = &table->buckets[hash(table, listener, origin)];
    session->bucket = *bucket;
    *bucket = session;
    link_newest(table, session);
    table->count++;
    return session;
}

struct session *session_of(struct sessions *table, const struct listener *listener, const struct origin *origin) {
    struct session *session = table->buckets[hash(table, listener, origin)];

    while (session != NULL && !session_is(session, listener, origin))
        session = session->bucket;
    if (session == NULL)
        return begin(table, listener, origin);
    session->origin.local = origin->local;
    session_touch(table, session);
    return session;
}

int sessions_expire(struct sessions *table, int64_t idle_ms) {
    sessions_now(table);
    while (table->oldest != NULL && table->now - table->oldest->last >= idle_ms)
        end(table, table->oldest);
    while (table->ended != NULL) {
        struct session *next = table->ended->bucket;
        free(table->ended);
        table->ended = next;
    }
    return table->oldest == NULL ? -1 : (int)(table->oldest->last + idle_ms - table->now);
}
