/* The root directory of a new upper: overlayfs shows the upper's, so it must say what the image's says. */
#ifndef ROOTDIR_H
#define ROOTDIR_H

#include "err.h"

/* Give the directory `to` the owner, mode, extended attributes and time of `from`; 0 or -errno. */
int rootdir_copy(const char *from, const char *to, struct err *e);

#endif
