#include "later.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int later_add(struct later **list, const char *path, mode_t mode, int64_t mtime) {
    struct later *later = malloc(sizeof *later + strlen(path) + 1);
    if (!later)
        return -ENOMEM;
    later->mode = mode;
    later->mtime = mtime;
    strcpy(later->path, path);
    later->next = *list;
    *list = later;
    return 0;
}

void later_free(struct later **list) {
    while (*list) {
        struct later *next = (*list)->next;
        free(*list);
        *list = next;
    }
}
