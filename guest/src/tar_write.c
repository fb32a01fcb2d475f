#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "sparse.h"
#include "tar.h"

enum { NAME_FIELD = 100, SENDFILE_MIN = 65536, SENDFILE_MAX = 1 << 20 };

static const char xattr[] = "SCHILY.xattr.";

static int flush(struct tar_writer *writer) {
    for (size_t done = 0; done < writer->used;) {
        ssize_t wrote = write(writer->fd, writer->bytes + done, writer->used - done);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        if (wrote > 0)
            done += (size_t)wrote;
    }
    writer->used = 0;
    return 0;
}

/* Room for `length` bytes, at most TAR_BUFFER, in one piece; NULL with errno set. */
static uint8_t *reserve(struct tar_writer *writer, size_t length) {
    int status = writer->used + length > TAR_BUFFER ? flush(writer) : 0;
    if (status < 0) {
        errno = -status;
        return NULL;
    }
    uint8_t *room = writer->bytes + writer->used;
    writer->used += length;
    return room;
}

static int put(struct tar_writer *writer, const uint8_t *bytes, size_t length) {
    while (length) {
        size_t part = length < TAR_BUFFER ? length : TAR_BUFFER;
        uint8_t *room = reserve(writer, part);
        if (!room)
            return -errno;
        memcpy(room, bytes, part);
        bytes += part;
        length -= part;
    }
    return 0;
}

static int put_zeros(struct tar_writer *writer, uint64_t length) {
    while (length) {
        size_t part = length < TAR_BUFFER ? (size_t)length : TAR_BUFFER;
        uint8_t *room = reserve(writer, part);
        if (!room)
            return -errno;
        memset(room, 0, part);
        length -= part;
    }
    return 0;
}

static size_t padding(uint64_t size) {
    return (size_t)(-size % TAR_BLOCK);
}

/* ---- pax records: "<length of the whole> <key>=<value>\n" ---- */

static bool put_record(uint8_t *records, size_t *used, size_t room, const char *prefix, const char *key,
                       const void *value, size_t length) {
    char digits[24];
    size_t body = strlen(prefix) + strlen(key) + length + 3, whole = body, width;
    do {
        width = (size_t)snprintf(digits, sizeof digits, "%zu", whole);
        if (whole == body + width)
            break;
        whole = body + width;
    } while (true);
    if (whole > room - *used)
        return false;
    uint8_t *at = records + *used;
    at += sprintf((char *)at, "%s %s%s=", digits, prefix, key);
    memcpy(at, value, length);
    at[length] = '\n';
    *used += whole;
    return true;
}

bool tar_put_attribute(uint8_t *records, size_t *used, size_t room, const char *name, const void *value,
                       size_t length) {
    return put_record(records, used, room - 1, xattr, name, value, length); /* 1: put_record's terminator */
}

bool tar_put_number(uint8_t *records, size_t *used, size_t room, const char *key, long long value) {
    char text[24];
    return put_record(records, used, room, "", key, text, (size_t)snprintf(text, sizeof text, "%lld", value));
}

/* ---- headers ---- */

static void octal(uint8_t *field, size_t width, uint64_t value) {
    field[width - 1] = 0;
    for (size_t i = width - 1; i-- > 0; value >>= 3)
        field[i] = (uint8_t)('0' + (value & 7));
}

static int put_ustar(struct tar_writer *writer, const struct tar_entry *entry, const char *name) {
    uint8_t *block = reserve(writer, TAR_BLOCK);
    if (!block)
        return -errno;
    memset(block, 0, TAR_BLOCK);
    memcpy(block, name, strnlen(name, NAME_FIELD));
    octal(block + 100, 8, entry->mode & 07777);
    octal(block + 108, 8, entry->uid);
    octal(block + 116, 8, entry->gid);
    octal(block + 124, 12, entry->size);
    octal(block + 136, 12, entry->mtime < 0 ? 0 : (uint64_t)entry->mtime);
    memset(block + 148, ' ', 8);
    block[156] = (uint8_t)entry->kind;
    memcpy(block + 157, entry->link, strnlen(entry->link, NAME_FIELD));
    memcpy(block + 257, "ustar\00000", 8);
    octal(block + 329, 8, entry->major);
    octal(block + 337, 8, entry->minor);
    unsigned sum = 0;
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += block[i];
    octal(block + 148, 7, sum);
    return 0;
}

/* What ustar has no room for. */
static bool narrow(const struct tar_entry *entry, uint8_t *records, size_t *used, size_t room) {
    size_t name = strlen(entry->name), link = strlen(entry->link);
    bool fits = true;
    if (name > NAME_FIELD)
        fits = fits && put_record(records, used, room, "", "path", entry->name, name);
    if (link > NAME_FIELD)
        fits = fits && put_record(records, used, room, "", "linkpath", entry->link, link);
    if (entry->size > 077777777777)
        fits = fits && tar_put_number(records, used, room, "size", (long long)entry->size);
    if (entry->uid > 07777777)
        fits = fits && tar_put_number(records, used, room, "uid", entry->uid);
    if (entry->gid > 07777777)
        fits = fits && tar_put_number(records, used, room, "gid", entry->gid);
    if (entry->mtime < 0 || entry->mtime > 077777777777)
        fits = fits && tar_put_number(records, used, room, "mtime", entry->mtime);
    return fits;
}

int tar_write_header(struct tar_writer *writer, const struct tar_entry *entry) {
    static uint8_t records[2 * PATH_MAX + 512];
    size_t used = 0;
    if (!narrow(entry, records, &used, sizeof records - 1) ||
        entry->records_length > TAR_EXTENSION_MAX - sizeof records)
        return -E2BIG;
    if (used || entry->records_length) {
        struct tar_entry pax = {.kind = 'x', .link = "", .mode = 0644, .size = used + entry->records_length};
        int status = put_ustar(writer, &pax, "PaxHeaders/entry");
        if (status == 0)
            status = put(writer, records, used);
        if (status == 0)
            status = put(writer, entry->records, entry->records_length);
        if (status == 0)
            status = put_zeros(writer, padding(pax.size));
        if (status < 0)
            return status;
    }
    return put_ustar(writer, entry, entry->name);
}

/* ---- data ---- */

static int put_file(struct tar_writer *writer, int file, uint64_t *left) {
    while (*left) {
        size_t room = TAR_BUFFER - writer->used;
        if (!room) {
            int status = flush(writer);
            if (status < 0)
                return status;
            continue;
        }
        ssize_t got = read(file, writer->bytes + writer->used, *left < room ? (size_t)*left : room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return 0;
        writer->used += (size_t)got;
        *left -= (uint64_t)got;
    }
    return 0;
}

/* A large file goes straight from the page cache to the pipe. */
static int send_file(struct tar_writer *writer, int file, uint64_t *left) {
    int status = flush(writer);
    while (status == 0 && *left && !writer->copies) {
        ssize_t sent = sendfile(writer->fd, file, NULL, *left < SENDFILE_MAX ? (size_t)*left : SENDFILE_MAX);
        if (sent < 0 && (errno == EINVAL || errno == ENOSYS))
            writer->copies = true;
        else if (sent < 0 && errno != EINTR)
            return -errno;
        else if (sent == 0)
            return 0;
        else if (sent > 0)
            *left -= (uint64_t)sent;
    }
    return status;
}

static int put_data(struct tar_writer *writer, int file, uint64_t size) {
    uint64_t left = size;
    int status = size >= SENDFILE_MIN && !writer->copies ? send_file(writer, file, &left) : 0;
    if (status == 0)
        status = put_file(writer, file, &left);
    return status < 0 ? status : put_zeros(writer, left); /* what is left: it became shorter meanwhile */
}

int tar_write_data(struct tar_writer *writer, int file, uint64_t size) {
    int status = put_data(writer, file, size);
    return status < 0 ? status : put_zeros(writer, padding(size));
}

int tar_write_sparse(struct tar_writer *writer, int file, const struct sparse_map *map) {
    int status = put(writer, (const uint8_t *)map->text, map->text_size);
    if (status == 0)
        status = put_zeros(writer, padding(map->text_size));
    for (size_t i = 0; status == 0 && i < map->count; i++) {
        if (lseek(file, (off_t)map->extents[i].offset, SEEK_SET) < 0)
            return -errno;
        status = put_data(writer, file, map->extents[i].size);
    }
    return status < 0 ? status : put_zeros(writer, padding(map->data_size));
}

int tar_write_end(struct tar_writer *writer) {
    int status = put_zeros(writer, 2 * (uint64_t)TAR_BLOCK);
    return status < 0 ? status : flush(writer);
}
