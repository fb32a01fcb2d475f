/* The event loop: one thread, epoll, one-shot timers. */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor being watched; embedded in its owner, found again with container_of. */
struct watch {
    int fd; /* -1 = none */
    uint32_t events;
    bool armed;
    void (*ready)(struct watch *watch, uint32_t events);
};

struct timer {
    uint64_t deadline; /* CLOCK_MONOTONIC, ms */
    bool set;
    void (*fire)(struct timer *timer);
    struct timer *next;
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

int loop_init(void);

/* Watch `watch->fd` for `events` (level-triggered); already watched: change the events. 0 or -errno. */
int loop_watch(struct watch *watch, uint32_t events);

/* Stop watching; the descriptor stays open. Safe in any callback, also for other watches of the same round. */
void loop_unwatch(struct watch *watch);

/* Unwatch and close. */
void loop_close(struct watch *watch);

void loop_timer(struct timer *timer, unsigned ms);
void loop_timer_cancel(struct timer *timer);

uint64_t loop_now(void); /* CLOCK_MONOTONIC, ms */

/* Serve until loop_quit; the code given to it. */
int loop_run(void);
void loop_quit(int code);

#endif
