#include "sparse.h"

#include <stdio.h>
#include <unistd.h>

static void add(struct sparse_map *map, uint64_t offset, uint64_t end) {
    map->extents[map->count++] = (struct extent){.offset = offset, .size = end - offset};
    map->data_size += end - offset;
}

static void find_extents(int fd, uint64_t size, struct sparse_map *map) {
    off_t end = 0;
    for (;;) {
        off_t start = lseek(fd, end, SEEK_DATA);
        if (start < 0 || (uint64_t)start >= size) { /* ENXIO: there is no more */
            add(map, size, size);                   /* GNU tar takes the size from the last one */
            return;
        }
        end = map->count == SPARSE_MAX - 1 ? (off_t)size : lseek(fd, start, SEEK_HOLE);
        if (end < 0 || (uint64_t)end > size)
            end = (off_t)size;
        add(map, (uint64_t)start, (uint64_t)end);
        if ((uint64_t)end == size)
            return;
    }
}

bool sparse_find(int fd, uint64_t size, struct sparse_map *map) {
    map->count = map->text_size = 0;
    map->data_size = 0;
    off_t hole = lseek(fd, 0, SEEK_HOLE);
    if (hole >= 0 && (uint64_t)hole < size)
        find_extents(fd, size, map);
    if (lseek(fd, 0, SEEK_SET) < 0 || hole < 0 || (uint64_t)hole >= size)
        return false;
    map->text_size = (size_t)snprintf(map->text, sizeof map->text, "%zu\n", map->count);
    for (size_t i = 0; i < map->count; i++)
        map->text_size +=
            (size_t)snprintf(map->text + map->text_size, sizeof map->text - map->text_size, "%llu\n%llu\n",
                             (unsigned long long)map->extents[i].offset, (unsigned long long)map->extents[i].size);
    return true;
}
