#include "links.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_FIRST = 256 };

struct link {
    struct link *next;
    dev_t device;
    ino_t inode;
    char name[];
};

static size_t bucket(const struct links *links, dev_t device, ino_t inode) {
    return (size_t)((inode ^ (device << 7)) * 0x9E3779B97F4A7C15u >> 20) & (links->size - 1);
}

static void grow(struct links *links) {
    struct links wider = {.size = links->size ? 2 * links->size : BUCKETS_FIRST, .used = links->used};
    wider.buckets = calloc(wider.size, sizeof *wider.buckets);
    if (!wider.buckets)
        return;
    for (size_t i = 0; i < links->size; i++)
        for (struct link *link = links->buckets[i], *next; link; link = next) {
            struct link **to = &wider.buckets[bucket(&wider, link->device, link->inode)];
            next = link->next;
            link->next = *to;
            *to = link;
        }
    free(links->buckets);
    *links = wider;
}

const char *links_find(struct links *links, const struct stat *found, const char *name) {
    if (links->used >= links->size)
        grow(links);
    if (!links->size)
        return NULL;
    struct link **first = &links->buckets[bucket(links, found->st_dev, found->st_ino)];
    for (struct link *link = *first; link; link = link->next)
        if (link->device == found->st_dev && link->inode == found->st_ino)
            return link->name;
    struct link *link = malloc(sizeof *link + strlen(name) + 1);
    if (link) {
        link->device = found->st_dev;
        link->inode = found->st_ino;
        strcpy(link->name, name);
        link->next = *first;
        *first = link;
        links->used++;
    }
    return NULL;
}

void links_free(struct links *links) {
    for (size_t i = 0; i < links->size; i++)
        for (struct link *link = links->buckets[i], *next; link; link = next) {
            next = link->next;
            free(link);
        }
    free(links->buckets);
    *links = (struct links){0};
}
