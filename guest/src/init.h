/* `--init`: a small init as the container's PID 1. */
#ifndef INIT_H
#define INIT_H

#include "err.h"

/*
 * Fork: returns 0 in the child, which goes on to be the program. The caller itself becomes the init: it forwards every
 * signal to that child, reaps what is orphaned, and exits as the child did. -errno when there is no fork.
 */
int init_become(struct err *e);

#endif
