/* A directory tree as a tar stream; no link is followed. Shared with the host's container-tar (native/). */
#ifndef PACK_H
#define PACK_H

#include <stdbool.h>

#include "err.h"

struct pack_options {
    bool attributes; /* with extended attributes */
    bool devices;    /* device nodes, too: else they are refused */
    bool sparse;     /* holes stay holes, for a reader that knows GNU tar's format of them */
    bool layer;      /* the tree is the upper of an overlay: marks of what it hides become an OCI layer's */
};

/*
 * Write the tree of the open file or directory `fd` to `output`, the top as `name`; with "" its members are at the top
 * and it is `./` itself. Sockets are left out. Below the top, what goes away meanwhile is left out.
 */
int pack(int fd, const char *name, const struct pack_options *options, int output, struct err *e);

#endif
