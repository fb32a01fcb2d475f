#include "pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "links.h"
#include "ours.h"
#include "sparse.h"
#include "tar.h"
#include "unsized.h"

static const char opaque[] = "trusted.overlay.opaque";

/* One stream at a time: a process packs once. */
static struct tar_writer writer;
static const struct pack_options *options;
static struct links links;
static char name[PATH_MAX]; /* of the current member */
static uint8_t records[TAR_EXTENSION_MAX / 2];
static struct sparse_map map;

static int pack_children(int directory, size_t length, struct err *e);

static int broken(struct err *e, int status) {
    return err_set(e, -status, "failed to write the archive");
}

/* ---- extended attributes ---- */

static bool wanted(const char *attribute) {
    if (strncmp(attribute, "trusted.overlay.", 16) == 0)
        return false;
    return strcmp(attribute, "security.selinux") != 0;
}

/* Through /proc, for what cannot be opened: fd is then O_PATH. */
static ssize_t list(int fd, const char *path, char *names, size_t size) {
    return path ? llistxattr(path, names, size) : flistxattr(fd, names, size);
}

static int add_attributes(struct tar_entry *entry, int fd, const char *path, struct err *e) {
    static char names[XATTR_LIST_MAX];
    static uint8_t value[XATTR_SIZE_MAX];
    ssize_t total = list(fd, path, names, sizeof names);
    size_t used = 0;
    for (const char *at = names; total > 0 && at < names + total; at += strlen(at) + 1) {
        if (!wanted(at))
            continue;
        ssize_t length = path ? lgetxattr(path, at, value, sizeof value) : fgetxattr(fd, at, value, sizeof value);
        if (length < 0)
            continue; /* gone meanwhile */
        if (!tar_put_attribute(records, &used, sizeof records, at, value, (size_t)length))
            return err_set(e, E2BIG, "failed to read the extended attributes of %s", name);
    }
    entry->records = records;
    entry->records_length = used;
    return 0;
}

/* ---- members ---- */

static struct tar_entry entry_of(const struct stat *found, char kind) {
    return (struct tar_entry){.name = name,
                              .link = "",
                              .kind = kind,
                              .mode = found->st_mode & 07777,
                              .uid = found->st_uid,
                              .gid = found->st_gid,
                              .mtime = found->st_mtime};
}

static int put(struct tar_entry *entry, struct err *e) {
    int status = tar_write_header(&writer, entry);
    return status < 0 ? broken(e, status) : 0;
}

/* An empty file of that name: a layer's mark. */
static int put_mark(const char *mark, struct err *e) {
    struct tar_entry entry = {.name = mark, .link = "", .kind = TAR_REGULAR};
    return put(&entry, e);
}

static int pack_sparse(int fd, const struct stat *found, struct tar_entry *entry, struct err *e) {
    size_t used = entry->records_length, room = sizeof records;
    if (!tar_put_number(records, &used, room, "GNU.sparse.major", 1) ||
        !tar_put_number(records, &used, room, "GNU.sparse.minor", 0) ||
        !tar_put_number(records, &used, room, "GNU.sparse.realsize", found->st_size))
        return err_set(e, E2BIG, "failed to archive %s", name);
    entry->records = records;
    entry->records_length = used;
    entry->size = (map.text_size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK + map.data_size;
    int status = put(entry, e);
    if (status < 0)
        return status;
    status = tar_write_sparse(&writer, fd, &map);
    return status < 0 ? err_set(e, -status, "failed to archive %s", name) : 0;
}

static int pack_file(int fd, const struct stat *found, struct err *e) {
    struct tar_entry entry = entry_of(found, TAR_REGULAR);
    const char *other = found->st_nlink > 1 ? links_find(&links, found, name) : NULL;
    if (other) {
        entry.kind = TAR_LINK;
        entry.link = other;
        return put(&entry, e);
    }
    int status = options->attributes ? add_attributes(&entry, fd, NULL, e) : 0;
    if (status < 0)
        return status;
    if (options->sparse && found->st_blocks < found->st_size / 512 && sparse_find(fd, (uint64_t)found->st_size, &map))
        return pack_sparse(fd, found, &entry, e);
    int copy;
    entry.size = (uint64_t)found->st_size;
    status = unsized_read(fd, found, &copy, &entry.size);
    if (status < 0)
        return err_set(e, -status, "failed to read %s", name);
    status = put(&entry, e);
    if (status == 0 && (status = tar_write_data(&writer, copy < 0 ? fd : copy, entry.size)) < 0)
        err_set(e, -status, "failed to archive %s", name);
    if (copy >= 0)
        close(copy);
    return status;
}

static int pack_directory(int fd, const struct stat *found, struct err *e) {
    size_t length = strlen(name);
    struct tar_entry entry = entry_of(found, TAR_DIRECTORY);
    int status = options->attributes ? add_attributes(&entry, fd, NULL, e) : 0;
    if (length + 2 > sizeof name)
        status = err_set(e, ENAMETOOLONG, "failed to archive %s", name);
    if (status < 0)
        return status;
    strcpy(name + length, length ? "/" : "./");
    status = put(&entry, e);
    name[length ? length + 1 : 0] = 0;
    if (status == 0)
        status = pack_children(fd, strlen(name), e);
    name[length] = 0;
    return status;
}

static int pack_symlink(struct tar_entry *entry, int parent, const char *child, struct err *e) {
    static char target[PATH_MAX];
    ssize_t length = readlinkat(parent, child, target, sizeof target - 1);
    if (length < 0)
        return errno == ENOENT || errno == EINVAL ? 0 : err_set(e, errno, "failed to read the link %s", name);
    target[length] = 0;
    entry->link = target;
    return put(entry, e);
}

/* What has no contents to open. */
static int pack_other(int parent, const char *child, const struct stat *found, struct err *e) {
    static char path[PATH_MAX];
    char kind = S_ISLNK(found->st_mode)    ? TAR_SYMLINK
                : S_ISFIFO(found->st_mode) ? TAR_FIFO
                : S_ISCHR(found->st_mode)  ? TAR_CHARACTER
                                           : TAR_BLOCK_DEVICE;
    struct tar_entry entry = entry_of(found, kind);
    const char *other = found->st_nlink > 1 ? links_find(&links, found, name) : NULL;
    if (S_ISSOCK(found->st_mode))
        return 0;
    if ((S_ISCHR(found->st_mode) || S_ISBLK(found->st_mode)) && !options->devices)
        return err_code(e, "invalidArgument", EINVAL, "%s is a device: devices are not copied", name);
    if (other) {
        entry.kind = TAR_LINK;
        entry.link = other;
        return put(&entry, e);
    }
    entry.major = major(found->st_rdev);
    entry.minor = minor(found->st_rdev);
    if (options->attributes) {
        if ((size_t)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", parent, child) >= sizeof path)
            return err_set(e, ENAMETOOLONG, "failed to archive %s", name);
        int status = add_attributes(&entry, -1, path, e);
        if (status < 0)
            return status;
    }
    return S_ISLNK(found->st_mode) ? pack_symlink(&entry, parent, child, e) : put(&entry, e);
}

/* ---- the tree ---- */

/* A whiteout of the overlay, and the files that are ours: 1 = done with. */
static int pack_special(const char *child, size_t length, const struct stat *found, struct err *e) {
    char mark[PATH_MAX];
    if (ours(name))
        return 1;
    if (!S_ISCHR(found->st_mode) || found->st_rdev != 0)
        return 0;
    if ((size_t)snprintf(mark, sizeof mark, "%.*s.wh.%s", (int)length, name, child) >= sizeof mark)
        return err_set(e, ENAMETOOLONG, "failed to archive %s", name);
    int status = put_mark(mark, e);
    return status < 0 ? status : 1;
}

static int pack_opened(int fd, struct err *e) {
    struct stat found;
    if (fstat(fd, &found) < 0)
        return err_set(e, errno, "failed to read %s", name);
    if (S_ISDIR(found.st_mode))
        return pack_directory(fd, &found, e);
    if (S_ISREG(found.st_mode))
        return pack_file(fd, &found, e);
    return err_code(e, "invalidArgument", EINVAL, "%s is no file and no directory", name);
}

/* `type` as readdir tells it: a stat saved for most. */
static int pack_child(int parent, const char *child, unsigned char type, size_t length, struct err *e) {
    struct stat found = {.st_mode = type == DT_REG ? S_IFREG : type == DT_DIR ? S_IFDIR : 0};
    if (length + strlen(child) >= sizeof name)
        return err_set(e, ENAMETOOLONG, "failed to archive %.*s", (int)length, name);
    strcpy(name + length, child);
    if (!found.st_mode && fstatat(parent, child, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_set(e, errno, "failed to read %s", name);
    int status = options->layer ? pack_special(child, length, &found, e) : 0;
    if (status != 0)
        return status < 0 ? status : 0;
    if (!S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode))
        return pack_other(parent, child, &found, e);
    /* NONBLOCK: it may have become a fifo by now */
    int fd = openat(parent, child, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) /* ELOOP: now it is a link */
        return errno == ENOENT || errno == ELOOP ? 0 : err_set(e, errno, "failed to read %s", name);
    status = pack_opened(fd, e);
    close(fd);
    return status;
}

static int pack_children(int directory, size_t length, struct err *e) {
    char mark[2];
    int status = 0, copy = fcntl(directory, F_DUPFD_CLOEXEC, 3);
    DIR *children = copy < 0 ? NULL : fdopendir(copy);
    if (!children) {
        status = err_set(e, errno, "failed to read %s", name);
        if (copy >= 0)
            close(copy);
        return status;
    }
    rewinddir(children);
    if (options->layer && fgetxattr(directory, opaque, mark, sizeof mark) == 1 && mark[0] == 'y') {
        static char whole[PATH_MAX + 16];
        snprintf(whole, sizeof whole, "%s.wh..wh..opq", name);
        status = put_mark(whole, e);
    }
    for (struct dirent *child; status == 0 && (errno = 0, child = readdir(children));) {
        if (strcmp(child->d_name, ".") != 0 && strcmp(child->d_name, "..") != 0)
            status = pack_child(directory, child->d_name, child->d_type, length, e);
        name[length] = 0;
    }
    if (status == 0 && errno != 0)
        status = err_set(e, errno, "failed to read %s", name);
    closedir(children);
    return status;
}

int pack(int fd, const char *top, const struct pack_options *how, int output, struct err *e) {
    writer = (struct tar_writer){.fd = output};
    options = how;
    if (strlen(top) >= sizeof name)
        return err_set(e, ENAMETOOLONG, "failed to archive %.64s", top);
    strcpy(name, top);
    int status = pack_opened(fd, e);
    links_free(&links);
    if (status < 0)
        return status;
    status = tar_write_end(&writer);
    return status < 0 ? broken(e, status) : 0;
}
