#include "tar_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_FIELD = 100 };

static const char xattr[] = "SCHILY.xattr.";

/* ---- fields ---- */

/* Octal, or base-256 with the top bit set (GNU); false when it is no number. */
static bool number(const uint8_t *field, size_t width, int64_t *value) {
    *value = 0;
    if (field[0] & 0x80) {
        *value = (int8_t)(field[0] << 1) >> 1; /* two's complement below the marking bit */
        for (size_t i = 1; i < width; i++) {
            if (*value > INT64_MAX >> 9 || *value < INT64_MIN >> 9)
                return false;
            *value = *value * 256 + field[i];
        }
        return true;
    }
    size_t i = 0;
    while (i < width && field[i] == ' ')
        i++;
    for (; i < width && field[i] >= '0' && field[i] <= '7'; i++)
        *value = *value * 8 + (field[i] - '0');
    return i == width || field[i] == 0 || field[i] == ' ';
}

static bool checksum(const uint8_t *block) {
    int64_t stored, plain = 0, with_signs = 0;
    for (int i = 0; i < TAR_BLOCK; i++) {
        uint8_t byte = i >= 148 && i < 156 ? ' ' : block[i];
        plain += byte;
        with_signs += (int8_t)byte; /* as old tars took it */
    }
    return number(block + 148, 8, &stored) && (stored == plain || stored == with_signs);
}

static bool set_text(char *to, const void *text, size_t length) {
    if (length >= PATH_MAX)
        return false;
    memcpy(to, text, length);
    to[length] = 0;
    return true;
}

bool tar_text(char *to, const uint8_t *field, size_t width) {
    return set_text(to, field, strnlen((const char *)field, width));
}

int tar_parse(struct tar_reader *reader, const uint8_t *block, struct tar_entry *entry) {
    int64_t mode, uid, gid, size, mtime, major = 0, minor = 0;
    char kind = (char)block[156];
    if (!checksum(block) || !number(block + 100, 8, &mode) || !number(block + 108, 8, &uid) ||
        !number(block + 116, 8, &gid) || !number(block + 124, 12, &size) || !number(block + 136, 12, &mtime) ||
        size < 0)
        return -EBADMSG;
    if ((kind == TAR_CHARACTER || kind == TAR_BLOCK_DEVICE) &&
        (!number(block + 329, 8, &major) || !number(block + 337, 8, &minor)))
        return -EBADMSG;
    if (!reader->long_name) {
        char prefix[NAME_FIELD + 156] = "";
        if (memcmp(block + 257, "ustar", 6) == 0 && block[345]) {
            tar_text(prefix, block + 345, 155);
            strcat(prefix, "/");
        }
        tar_text(reader->name, (const uint8_t *)prefix, sizeof prefix);
        tar_text(reader->name + strlen(prefix), block, NAME_FIELD);
    }
    if (!reader->long_link)
        tar_text(reader->link, block + 157, NAME_FIELD);
    size_t length = strlen(reader->name);
    if (kind == 0 || kind == '7')
        kind = kind == 0 && length && reader->name[length - 1] == '/' ? TAR_DIRECTORY : TAR_REGULAR;
    *entry = (struct tar_entry){.kind = kind,
                                .mode = (unsigned)mode & 07777,
                                .major = (unsigned)major,
                                .minor = (unsigned)minor,
                                .uid = (uint32_t)uid,
                                .gid = (uint32_t)gid,
                                .size = (uint64_t)size,
                                .mtime = mtime};
    return 0;
}

/* ---- pax ---- */

/* The record at `*at`: key and value, not terminated. 1, 0 at the end, -EBADMSG. */
static int next_record(const uint8_t *records, size_t total, size_t *at, const char **key, size_t *key_length,
                       const uint8_t **value, size_t *length) {
    size_t position = *at, whole = 0;
    if (position >= total || !records[position])
        return 0;
    while (position < total && records[position] >= '0' && records[position] <= '9' && whole < TAR_EXTENSION_MAX)
        whole = whole * 10 + (size_t)(records[position++] - '0');
    if (position >= total || records[position++] != ' ' || whole > total - *at || *at + whole <= position ||
        records[*at + whole - 1] != '\n')
        return -EBADMSG;
    const uint8_t *equals = memchr(records + position, '=', *at + whole - position);
    if (!equals)
        return -EBADMSG;
    *key = (const char *)records + position;
    *key_length = (size_t)(equals - (records + position));
    *value = equals + 1;
    *length = (size_t)(records + *at + whole - 1 - *value);
    *at += whole;
    return 1;
}

static int64_t decimal(const uint8_t *value, size_t length) {
    char text[32] = "";
    memcpy(text, value, length < sizeof text - 1 ? length : sizeof text - 1);
    return strtoll(text, NULL, 10);
}

#define IS(name) (key_length == sizeof name - 1 && memcmp(key, name, sizeof name - 1) == 0)

/* Of the three versions of GNU's format only the last is read: the others have the map in the records. */
static int apply_sparse(struct tar_reader *reader, const char *key, size_t key_length, const uint8_t *value,
                        size_t length) {
    int64_t figure = decimal(value, length);
    if (IS("major") || IS("minor"))
        return figure == (IS("major") ? 1 : 0) ? 0 : -EOPNOTSUPP;
    if (IS("name")) {
        reader->sparse_name = true;
        return set_text(reader->name, value, length) ? 0 : -ENAMETOOLONG;
    }
    if (!IS("realsize") || figure < 0)
        return figure < 0 ? -EBADMSG : -EOPNOTSUPP;
    reader->sparse = true;
    reader->real_size = (uint64_t)figure;
    return 0;
}

static int apply(struct tar_reader *reader, struct tar_entry *entry, const char *key, size_t key_length,
                 const uint8_t *value, size_t length) {
    if (key_length > 11 && memcmp(key, "GNU.sparse.", 11) == 0)
        return apply_sparse(reader, key + 11, key_length - 11, value, length);
    if (IS("path") && reader->sparse_name)
        return 0;
    if (IS("path"))
        return set_text(reader->name, value, length) ? 0 : -ENAMETOOLONG;
    if (IS("linkpath"))
        return set_text(reader->link, value, length) ? 0 : -ENAMETOOLONG;
    if (IS("size"))
        entry->size = (uint64_t)decimal(value, length);
    else if (IS("uid"))
        entry->uid = (uint32_t)decimal(value, length);
    else if (IS("gid"))
        entry->gid = (uint32_t)decimal(value, length);
    else if (IS("mtime"))
        entry->mtime = decimal(value, length);
    return entry->size > INT64_MAX ? -EBADMSG : 0;
}

#undef IS

int tar_apply_records(struct tar_reader *reader, struct tar_entry *entry) {
    const char *key;
    const uint8_t *value;
    size_t at = 0, key_length, length;
    int more;
    while ((more = next_record(reader->records, reader->records_length, &at, &key, &key_length, &value, &length)) > 0) {
        int status = apply(reader, entry, key, key_length, value, length);
        if (status < 0)
            return status;
    }
    return more;
}

bool tar_attribute(const struct tar_entry *entry, size_t *at, const char **name, size_t *name_length,
                   const uint8_t **value, size_t *length) {
    while (next_record(entry->records, entry->records_length, at, name, name_length, value, length) > 0)
        if (*name_length > sizeof xattr - 1 && memcmp(*name, xattr, sizeof xattr - 1) == 0) {
            *name += sizeof xattr - 1;
            *name_length -= sizeof xattr - 1;
            return true;
        }
    return false;
}
