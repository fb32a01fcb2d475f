/* Files that the host writes into every container: of the machine, and of no image. */
#ifndef OURS_H
#define OURS_H

#include <stdbool.h>

/* Whether `path`, without a slash before it, is one. */
bool ours(const char *path);

#endif
