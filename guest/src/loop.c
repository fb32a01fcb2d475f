#include "loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32 };

static int epoll_fd = -1;
static struct epoll_event batch[BATCH];
static int batch_size;
static struct timer *timers;
static bool quitting;
static int quit_code;

int loop_init(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return epoll_fd < 0 ? -errno : 0;
}

int loop_watch(struct watch *watch, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (watch->armed && watch->events == events)
        return 0;
    if (epoll_ctl(epoll_fd, watch->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, watch->fd, &event) < 0)
        return -errno;
    watch->armed = true;
    watch->events = events;
    return 0;
}

void loop_unwatch(struct watch *watch) {
    if (!watch->armed)
        return;
    watch->armed = false;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < batch_size; i++)
        if (batch[i].data.ptr == watch)
            batch[i].data.ptr = NULL;
}

void loop_close(struct watch *watch) {
    loop_unwatch(watch);
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
}

uint64_t loop_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void loop_timer(struct timer *timer, unsigned ms) {
    loop_timer_cancel(timer);
    timer->deadline = loop_now() + ms;
    timer->set = true;
    timer->next = timers;
    timers = timer;
}

void loop_timer_cancel(struct timer *timer) {
    if (!timer->set)
        return;
    timer->set = false;
    for (struct timer **link = &timers; *link; link = &(*link)->next)
        if (*link == timer) {
            *link = timer->next;
            return;
        }
}

static int timeout(void) {
    uint64_t first = UINT64_MAX;
    for (struct timer *timer = timers; timer; timer = timer->next)
        if (timer->deadline < first)
            first = timer->deadline;
    if (first == UINT64_MAX)
        return -1;
    uint64_t now = loop_now();
    return first <= now ? 0 : (int)(first - now);
}

static void fire_timers(void) {
    if (!timers)
        return;
    uint64_t now = loop_now();
    for (struct timer *timer = timers; timer;) {
        if (timer->deadline > now) {
            timer = timer->next;
            continue;
        }
        loop_timer_cancel(timer);
        timer->fire(timer);
        timer = timers; /* the list may have changed */
    }
}

int loop_run(void) {
    while (!quitting) {
        batch_size = epoll_wait(epoll_fd, batch, BATCH, timeout());
        for (int i = 0; i < batch_size && !quitting; i++) {
            struct watch *watch = batch[i].data.ptr;
            if (watch)
                watch->ready(watch, batch[i].events);
        }
        batch_size = 0;
        fire_timers();
    }
    return quit_code;
}

void loop_quit(int code) {
    quitting = true;
    quit_code = code;
}
