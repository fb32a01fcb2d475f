/* Sources and destinations of copies, by the rules of cp(1) and docker. Shared with the host's container-tar. */
#ifndef PLACE_H
#define PLACE_H

#include <limits.h>
#include <stdbool.h>

#include "err.h"

/* Where a copy goes: into the directory `base`, its top as `as`; "" merges its top into `base`. */
struct place {
    char base[PATH_MAX];
    char as[PATH_MAX];
};

/* Open what `path` in `root` names, a file or directory, to be read; -1 with a sentence. Links are followed. */
int place_source(int root, const char *path, struct err *e);

/* The name that a copy of `path` has inside a directory: its last component, "" for `/`, `.` and `..`. */
const char *place_name(const char *path, char *name);

/*
 * Decide where a file, or a `directory`, called `name` goes when it is copied to `path`: into an existing directory,
 * else in its place. What is missing above it is made with `parents`, else it is an error. 0 or -errno.
 */
int place_destination(int root, const char *path, bool directory, const char *name, bool parents, struct place *place,
                      struct err *e);

/* The same for the members of a stream, which go into an existing directory. 0 or -errno. */
int place_into(int root, const char *path, struct place *place, struct err *e);

#endif
