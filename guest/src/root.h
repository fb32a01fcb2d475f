/* Paths inside a root directory: no link and no dot-dot of the container's files leads out (openat2(2)). */
#ifndef ROOT_H
#define ROOT_H

#include <stdbool.h>
#include <sys/types.h>

/* open(2) of an absolute path in the root; -errno. */
int root_open(int root, const char *path, int flags, mode_t mode);

/*
 * Make a directory and its parents, 0755, if missing; at a link that leads to nothing, what it is meant to lead to. The
 * directory as O_PATH, or -errno.
 */
int root_mkdirs(int root, const char *path);

/* A place to mount on, made likewise if missing: a directory, or an empty file. O_PATH, or -errno. */
int root_target(int root, const char *path, bool directory);

/* mount(2) onto an O_PATH descriptor; 0 or -errno. */
int root_mount(int target, const char *source, const char *type, unsigned long flags, const char *data);

#endif
