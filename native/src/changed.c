#define _GNU_SOURCE
#include "changed.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "replay.h"
#include "watch.h"

enum { RECORDS_MAX = 8192, PACKET_MAX = 32768 };

static void *known;                /* tree (tsearch(3)) of the records */
static char *records[RECORDS_MAX]; /* the same ones, in the order in which they came */
static int count, sent;            /* the first `sent` of them have gone */
static long long oldest;
static bool lost;

long long changed_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int compare(const void *left, const void *right) {
    return strcmp(left, right);
}

void changed_add(char kind, const char *directory, const char *name) {
    char *record;
    bool root = strcmp(directory, ".") == 0;
    const char *slash = *name && !root ? "/" : "";
    if (count == RECORDS_MAX || asprintf(&record, "%c%s%s%s", kind, root && *name ? "" : directory, slash, name) < 0) {
        lost = true;
        return;
    }
    char **found = tsearch(record, &known, compare);
    if (!found || *found != record) {
        lost = lost || !found;
        free(record);
        return;
    }
    if (count == 0)
        oldest = changed_now();
    records[count++] = record;
}

bool changed_any(long long *since) {
    *since = oldest;
    return count > 0;
}

/* What happens to those before `end` from now on is to be sent again. */
static void forget(int end) {
    for (; sent < end; sent++) {
        tdelete(records[sent], &known, compare);
        free(records[sent]);
    }
}

static void begin(void) {
    count = sent = 0;
    if (lost)
        changed_add(REPLAY_CHANGED, ".", "");
    lost = false;
}

int changed_send(int out) {
    static char packet[PACKET_MAX];
    while (sent < count) {
        size_t used = 0;
        int next = sent;
        for (; next < count; next++) {
            size_t size = strlen(records[next]) + 1;
            if (size > sizeof packet - used)
                break;
            memcpy(packet + used, records[next], size);
            used += size;
        }
        if (send(out, packet, used, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : -errno;
        forget(next);
    }
    begin();
    return 0;
}

void changed_warn(int out, const char *format, ...) {
    char text[512] = {WATCH_WARNING};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + 1, sizeof text - 1, format, arguments);
    va_end(arguments);
    (void)!send(out, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}
