/* Modes and times of directories, which are set when all is in them. */
#ifndef LATER_H
#define LATER_H

#include <stdint.h>
#include <sys/types.h>

struct later {
    struct later *next;
    mode_t mode;
    int64_t mtime;
    char path[];
};

/* Remember one; -ENOMEM. */
int later_add(struct later **list, const char *path, mode_t mode, int64_t mtime);

void later_free(struct later **list);

#endif
