/* Where a file has data: what lies between are holes. */
#ifndef SPARSE_H
#define SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPARSE_MAX = 16384 };

struct extent {
    uint64_t offset, size;
};

struct sparse_map {
    struct extent extents[SPARSE_MAX];
    size_t count;
    uint64_t data_size; /* of all extents */
    size_t text_size;
    char text[SPARSE_MAX * 40]; /* the map as GNU tar's pax format 1.0 has it */
};

/* Find the extents of a file of that size; what is past the last of SPARSE_MAX counts as data. False when it has no
 * holes, or the file system does not tell. */
bool sparse_find(int fd, uint64_t size, struct sparse_map *map);

#endif
