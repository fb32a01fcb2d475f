/*
 * Tar streams, a member at a time (pax(1), tar(5) of libarchive). Written: ustar, with pax records where ustar is too
 * narrow. Read: v7, ustar, pax and GNU. Of the formats for files with holes it is pax 1.0 of GNU tar, both ways. Shared
 * with the host's container-tar (native/).
 */
#ifndef TAR_H
#define TAR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum { TAR_BLOCK = 512, TAR_BUFFER = 262144, TAR_EXTENSION_MAX = 1048576 };

enum tar_kind {
    TAR_REGULAR = '0',
    TAR_LINK = '1',
    TAR_SYMLINK = '2',
    TAR_CHARACTER = '3',
    TAR_BLOCK_DEVICE = '4',
    TAR_DIRECTORY = '5',
    TAR_FIFO = '6',
};

/* One member. Names are bytes; `link` is "" where there is none; only TAR_REGULAR has data. */
struct tar_entry {
    const char *name, *link;
    char kind;
    unsigned mode, major, minor;
    uint32_t uid, gid;
    uint64_t size;
    int64_t mtime;
    const uint8_t *records; /* pax records: all of those read, those to be written besides what is above */
    size_t records_length;
};

struct tar_writer {
    int fd;
    size_t used;
    bool copies; /* sendfile(2) does not work on it */
    uint8_t bytes[TAR_BUFFER];
};

struct tar_reader {
    int fd;
    size_t start, end; /* of what is read and not used */
    uint64_t left;     /* data of the member that is still to come */
    size_t padding;
    bool sparse, sparse_name; /* the data begins with a map of where it goes; the member's name is from its records */
    uint64_t real_size;       /* of the file, when sparse */
    bool copies;              /* splice(2) does not work on it */
    char name[PATH_MAX], link[PATH_MAX];
    bool long_name, long_link;
    size_t records_length;
    uint8_t records[TAR_EXTENSION_MAX];
    uint8_t bytes[TAR_BUFFER];
};

/* Write a header. 0 or -errno; -E2BIG when its records are too long. */
int tar_write_header(struct tar_writer *writer, const struct tar_entry *entry);

/* Write `size` bytes of a file as the data of the member, zeros for what it lacks. 0 or -errno. */
int tar_write_data(struct tar_writer *writer, int file, uint64_t size);

/* The same for a file with holes, of which `map` tells (sparse.h). */
struct sparse_map;
int tar_write_sparse(struct tar_writer *writer, int file, const struct sparse_map *map);

/* Write the end, and all that waits. 0 or -errno. */
int tar_write_end(struct tar_writer *writer);

/* Append the pax record of an extended attribute; false when it does not fit into `room`. */
bool tar_put_attribute(uint8_t *records, size_t *used, size_t room, const char *name, const void *value, size_t length);

/* Append a pax record with a number; false when it does not fit into `room`. */
bool tar_put_number(uint8_t *records, size_t *used, size_t room, const char *key, long long value);

/* The next member, valid until the next call: 1, 0 at the end, -errno: -ENODATA the stream ended too early, -EBADMSG
 * it is no tar, -EOPNOTSUPP a kind of member that is not supported. Data that was not taken is skipped. */
int tar_read(struct tar_reader *reader, struct tar_entry *entry);

/* Write the data of the member to a file. 0 or -errno. */
int tar_read_data(struct tar_reader *reader, int file);

/* Read up to the end of the stream, so that its writer is not cut off. */
void tar_drain(struct tar_reader *reader);

/* Say what a failure of tar_read means; returns `status`. */
int tar_failed(struct err *e, int status);

/* The next extended attribute of a member, from `*at` on; false when there is none. Nothing is terminated. */
bool tar_attribute(const struct tar_entry *entry, size_t *at, const char **name, size_t *name_length,
                   const uint8_t **value, size_t *length);

#endif
