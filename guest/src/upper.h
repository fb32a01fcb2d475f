/* The file system that holds what the container changed, as a whole. */
#ifndef UPPER_H
#define UPPER_H

#include "err.h"

/* The directory of the changes, as overlay keeps them; the caller's to close, or -errno. */
int upper_open(struct err *e);

/* Write back, and hold up writers until as many thaws. 0 or -errno. */
int upper_freeze(struct err *e);
void upper_thaw(void);

#endif
