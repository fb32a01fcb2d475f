/* What a container changed of its image. */
#ifndef CHANGES_H
#define CHANGES_H

#include "err.h"

/*
 * Compare the upper of an overlay with what is below it; to `output` go records, in no order, each a letter, an
 * absolute path and a zero byte: A added, C changed, D deleted. Of a deleted or replaced directory only itself. 0 or
 * -errno.
 */
int changes_write(int upper, int lower, int output, struct err *e);

#endif
