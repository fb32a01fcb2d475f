/* A tar stream as files, never outside of where they belong. Shared with the host's container-tar (native/). */
#ifndef UNPACK_H
#define UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "tar.h"

struct unpack_target {
    int root;         /* directory that members' parents are looked up in */
    uint64_t resolve; /* openat2(2): how */
    const char *base; /* path in `root` of the directory that members go to; "" = `root` itself */
    const char *as;   /* replaces the first component of members' names; NULL = they are taken as they are */
    bool owners;      /* as the stream says, with set-id bits and attributes; else the caller's, without */
};

/*
 * Make the members of the stream, from `first` on, which was just read. What is no directory is replaced, directories
 * are merged; a directory in the place of another kind, and one of another kind in the place of a directory, fail, and
 * so do devices, absolute names once `..` is in them, and anything that `resolve` refuses.
 */
int unpack(struct tar_reader *reader, const struct tar_entry *first, const struct unpack_target *target, struct err *e);

#endif
