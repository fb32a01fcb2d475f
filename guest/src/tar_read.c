#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sparse.h"
#include "tar.h"
#include "tar_parse.h"

enum { SPLICE_MIN = 65536, SPLICE_MAX = 1 << 20 };

/* More bytes into the buffer, which has room. 0 at the end of the stream, else what came, or -errno. */
static ssize_t fill(struct tar_reader *reader) {
    if (reader->start == reader->end)
        reader->start = reader->end = 0;
    ssize_t got;
    do
        got = read(reader->fd, reader->bytes + reader->end, TAR_BUFFER - reader->end);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    reader->end += (size_t)got;
    return got;
}

/* The next block, NULL when the stream ended before it (`*status` 0), in it, or failed. */
static const uint8_t *next_block(struct tar_reader *reader, int *status) {
    *status = 0;
    if (TAR_BUFFER - reader->start < TAR_BLOCK) {
        memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    while (reader->end - reader->start < TAR_BLOCK) {
        bool partial = reader->end > reader->start;
        ssize_t got = fill(reader);
        if (got <= 0) {
            *status = got < 0 ? (int)got : partial ? -ENODATA : 0;
            return NULL;
        }
    }
    reader->start += TAR_BLOCK;
    return reader->bytes + reader->start - TAR_BLOCK;
}

/* Take up to `length` bytes: to `to` (may be NULL), or to the file unless it is -1. */
static int take(struct tar_reader *reader, uint64_t *left, uint8_t *to, int file) {
    while (*left) {
        size_t here = reader->end - reader->start;
        if (!here) {
            ssize_t got = fill(reader);
            if (got <= 0)
                return got < 0 ? (int)got : -ENODATA;
            continue;
        }
        if (here > *left)
            here = (size_t)*left;
        if (file >= 0) {
            ssize_t wrote = write(file, reader->bytes + reader->start, here);
            if (wrote < 0 && errno != EINTR)
                return -errno;
            here = wrote < 0 ? 0 : (size_t)wrote;
        } else if (to) {
            memcpy(to, reader->bytes + reader->start, here);
            to += here;
        }
        reader->start += here;
        *left -= here;
    }
    return 0;
}

/* ---- members ---- */

/* The data of an extension header into `to`, which has `room` bytes. */
static int extension(struct tar_reader *reader, const struct tar_entry *entry, uint8_t *to, size_t room) {
    uint64_t size = entry->size, pad = -size % TAR_BLOCK;
    if (size > room)
        return -EBADMSG;
    int status = take(reader, &size, to, -1);
    return status < 0 ? status : take(reader, &pad, NULL, -1);
}

static int long_text(struct tar_reader *reader, const struct tar_entry *entry, char *to, bool *set) {
    static uint8_t text[PATH_MAX];
    int status = extension(reader, entry, text, sizeof text);
    *set = true;
    return status < 0 ? status : tar_text(to, text, (size_t)entry->size) ? 0 : -ENAMETOOLONG;
}

/* Headers that belong to the one after them. 1 = it was none of these. */
static int absorb(struct tar_reader *reader, struct tar_entry *entry) {
    static uint8_t ignored[TAR_EXTENSION_MAX];
    int status;
    switch (entry->kind) {
    case 'L':
        return long_text(reader, entry, reader->name, &reader->long_name);
    case 'K':
        return long_text(reader, entry, reader->link, &reader->long_link);
    case 'g': /* of the archive as a whole: a comment, in practice */
        return extension(reader, entry, ignored, sizeof ignored);
    case 'x':
        status = extension(reader, entry, reader->records, sizeof reader->records);
        reader->records_length = status < 0 ? 0 : (size_t)entry->size;
        return status;
    default:
        return 1;
    }
}

static int skip(struct tar_reader *reader) {
    uint64_t rest = reader->left + reader->padding;
    reader->left = reader->padding = 0;
    return take(reader, &rest, NULL, -1);
}

int tar_read(struct tar_reader *reader, struct tar_entry *entry) {
    static const uint8_t zeros[TAR_BLOCK];
    int status = skip(reader);
    reader->long_name = reader->long_link = reader->sparse = reader->sparse_name = false;
    reader->records_length = 0;
    while (status == 0) {
        const uint8_t *block = next_block(reader, &status);
        if (!block || memcmp(block, zeros, TAR_BLOCK) == 0)
            return status;
        status = tar_parse(reader, block, entry);
        if (status == 0)
            status = absorb(reader, entry);
    }
    if (status == 1)
        status = tar_apply_records(reader, entry);
    if (status < 0)
        return status;
    if (entry->kind < TAR_REGULAR || entry->kind > TAR_FIFO)
        return -EOPNOTSUPP;
    if (entry->kind != TAR_REGULAR)
        entry->size = 0; /* whatever it says: nothing follows */
    entry->name = reader->name;
    entry->link = reader->link;
    entry->records = reader->records;
    entry->records_length = reader->records_length;
    reader->left = entry->size;
    reader->padding = (size_t)(-entry->size % TAR_BLOCK);
    return 1;
}

/* What is not read yet, from the pipe to the file without a detour. */
static int splice_data(struct tar_reader *reader, uint64_t *left, int file) {
    while (*left >= SPLICE_MIN && !reader->copies) {
        size_t part = *left < SPLICE_MAX ? (size_t)*left : SPLICE_MAX;
        ssize_t moved = splice(reader->fd, NULL, file, NULL, part, SPLICE_F_MOVE);
        if (moved < 0 && errno == EINVAL)
            reader->copies = true;
        else if (moved < 0 && errno != EINTR)
            return -errno;
        else if (moved == 0)
            return -ENODATA;
        else if (moved > 0)
            *left -= (uint64_t)moved;
    }
    return 0;
}

/* `left` bytes of the member to the file, where it is at. */
static int to_file(struct tar_reader *reader, uint64_t left, int file) {
    uint64_t here = reader->end - reader->start;
    if (here > left)
        here = left;
    reader->left -= left;
    left -= here;
    int status = take(reader, &here, NULL, file);
    if (status == 0)
        status = splice_data(reader, &left, file);
    return status < 0 ? status : take(reader, &left, NULL, file);
}

/* ---- files with holes ---- */

/* A line of the map: a number. */
static int map_number(struct tar_reader *reader, uint64_t *value) {
    uint8_t byte;
    *value = 0;
    for (int digits = 0;; digits++) {
        uint64_t one = 1;
        if (!reader->left || digits > 18)
            return -EBADMSG;
        reader->left--;
        int status = take(reader, &one, &byte, -1);
        if (status < 0)
            return status;
        if (byte == '\n')
            return digits ? 0 : -EBADMSG;
        if (byte < '0' || byte > '9')
            return -EBADMSG;
        *value = *value * 10 + (byte - '0');
    }
}

static int read_map(struct tar_reader *reader, struct extent *extents, size_t *count) {
    uint64_t all = reader->left, lines, end = 0, data = 0;
    int status = map_number(reader, &lines);
    if (status < 0 || lines > SPARSE_MAX)
        return status < 0 ? status : -EOPNOTSUPP;
    for (*count = 0; *count < lines; ++*count) {
        struct extent *extent = extents + *count;
        status = map_number(reader, &extent->offset);
        if (status == 0)
            status = map_number(reader, &extent->size);
        if (status < 0)
            return status;
        if (extent->offset < end || extent->size > reader->real_size ||
            extent->offset > reader->real_size - extent->size)
            return -EBADMSG;
        end = extent->offset + extent->size;
        data += extent->size;
    }
    uint64_t rest = -(all - reader->left) % TAR_BLOCK; /* of the map's last block */
    if (rest > reader->left || data > reader->left - rest)
        return -EBADMSG;
    reader->left -= rest;
    return take(reader, &rest, NULL, -1);
}

static int sparse_data(struct tar_reader *reader, int file) {
    static struct extent extents[SPARSE_MAX];
    size_t count;
    int status = read_map(reader, extents, &count);
    for (size_t i = 0; status == 0 && i < count; i++)
        status = lseek(file, (off_t)extents[i].offset, SEEK_SET) < 0 ? -errno : to_file(reader, extents[i].size, file);
    return status == 0 && ftruncate(file, (off_t)reader->real_size) < 0 ? -errno : status;
}

int tar_read_data(struct tar_reader *reader, int file) {
    return reader->sparse ? sparse_data(reader, file) : to_file(reader, reader->left, file);
}

void tar_drain(struct tar_reader *reader) {
    do
        reader->start = reader->end = 0;
    while (fill(reader) > 0);
}

int tar_failed(struct err *e, int status) {
    if (status == -ENODATA)
        return err_code(e, "interrupted", ENODATA, "the archive ended too early");
    if (status == -EBADMSG)
        return err_code(e, "invalidArgument", EBADMSG, "the stream is no tar archive");
    if (status == -EOPNOTSUPP)
        return err_code(e, "unsupported", EOPNOTSUPP, "the archive has members of an unknown kind");
    return err_set(e, -status, "failed to read the archive");
}
