/* The file system that holds what the container changed, as a whole. */
#ifndef UPPER_H
#define UPPER_H

#include "err.h"

/* The directory of the changes, as overlay keeps them; the caller's to close, or -errno. */
int upper_open(struct err *e);

/* Write back and hold up writers, unless they are already. 0 or -errno. It waits for writes that are under way, and the
 * agent may be what feeds them: so it is not for the agent itself. */
int upper_freeze(struct err *e);

/* Let writers go on. */
void upper_thaw(void);

#endif
