/* Files with several names, by device and inode. */
#ifndef LINKS_H
#define LINKS_H

#include <stddef.h>
#include <sys/stat.h>

struct link;
struct links {
    struct link **buckets;
    size_t size, used;
};

/* The name under which the file was met first; NULL when that is now: `name` is kept, as far as memory lasts. */
const char *links_find(struct links *links, const struct stat *found, const char *name);

void links_free(struct links *links);

#endif
