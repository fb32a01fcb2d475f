/*
 * container-tsc: print the frequency of this host's time-stamp counter, in kHz.
 *
 * The counter of an emulated machine is the host's. A guest that has to find out its frequency by itself gets it wrong
 * when the host is busy, and its clock with it. Exit status 1: there is no counter with one frequency.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>

enum { TRIES = 64, INVARIANT = 1 << 8, SPAN_NS = 50000000 };

struct moment {
    uint64_t ticks, ns;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Both clocks at one moment: of several readings the one that took the least time. */
static struct moment look(void) {
    struct moment best = {0};
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t before = __rdtsc(), ns = now(), taken = __rdtsc() - before;
        if (taken < least) {
            least = taken;
            best = (struct moment){.ticks = before + taken / 2, .ns = ns};
        }
    }
    return best;
}

int main(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d & INVARIANT))
        return 1;
    const struct timespec span = {.tv_nsec = SPAN_NS};
    struct moment first = look();
    nanosleep(&span, NULL);
    struct moment last = look();
    uint64_t ns = last.ns - first.ns;
    printf("%llu\n", (unsigned long long)(((last.ticks - first.ticks) * 1000000 + ns / 2) / ns));
    return 0;
}
#else
int main(void) {
    return 1;
}
#endif
