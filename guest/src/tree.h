/* Copies of directory trees. */
#ifndef TREE_H
#define TREE_H

#include "err.h"

/*
 * Make the directory `to`, if it is empty, like `from`: contents, owners, modes, times, extended attributes, hard
 * links; all of it is on the disk then. No link is followed; sockets are left out, and device nodes where the file
 * system takes none. A copy that was interrupted, by a loss of power say, is completed by the next call. 0 or -errno.
 */
int tree_fill(int from, int to, struct err *e);

#endif
