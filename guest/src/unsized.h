/* Files whose size stat(2) does not tell, for they are made when they are read: those of /proc and /sys. */
#ifndef UNSIZED_H
#define UNSIZED_H

#include <stdint.h>
#include <sys/stat.h>

/*
 * If `fd` may be such a file (it says that it has no blocks, and no more bytes than a page): all it has, copied into a
 * file in memory, `*copy`, of `*size` bytes. Else, and if it has nothing, `*copy` is -1. 0, or -errno without a
 * sentence.
 */
int unsized_read(int fd, const struct stat *found, int *copy, uint64_t *size);

#endif
