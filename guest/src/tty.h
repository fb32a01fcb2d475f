/* Pseudo-terminals of the container's own devpts. */
#ifndef TTY_H
#define TTY_H

#include <jansson.h>
#include <sys/types.h>

#include "err.h"

/* Open a terminal through `/dev/ptmx`; `size` = {"columns", "rows"} or NULL. The slave's name goes to `name`. */
int tty_open(int *master, int *slave, char *name, size_t name_size, const json_t *size, struct err *e);

/* Make `slave` the caller's controlling terminal and standard streams; the caller leads a new session. */
int tty_take(int slave, uid_t owner, struct err *e);

/* Window size of `master`; sends SIGWINCH to its foreground group. */
int tty_resize(int master, const json_t *size, struct err *e);

#endif
