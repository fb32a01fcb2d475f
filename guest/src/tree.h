/* Copies of directory trees. */
#ifndef TREE_H
#define TREE_H

#include <stdbool.h>

#include "err.h"

/* Whether a directory has no entries; a negative errno when that cannot be told. */
int tree_is_empty(int directory);

/* Make the empty directory `to` like `from`: contents, owners, modes, times, extended attributes. No link is followed;
   sockets are left out, and device nodes where the file system takes none. Hard links become copies. */
int tree_copy(int from, int to, struct err *e);

#endif
