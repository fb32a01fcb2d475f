/* What has changed since the last batch: a set of records of bounded size. */
#ifndef CHANGED_H
#define CHANGED_H

#include <stdbool.h>

/* Remember that `name` in the directory `directory` has changed, "" for the directory itself. Too many: only that. */
void changed_add(char kind, const char *directory, const char *name);

/* Whether there is anything to send, and when the oldest of it happened: milliseconds of CLOCK_MONOTONIC. */
bool changed_any(long long *since);

/* Send as much as the socket takes. 0, or -errno when the socket is of no use any more. */
int changed_send(int out);

/* Send a warning. One that finds the socket full is lost. */
__attribute__((format(printf, 2, 3))) void changed_warn(int out, const char *format, ...);

/* Milliseconds of CLOCK_MONOTONIC. */
long long changed_now(void);

#endif
