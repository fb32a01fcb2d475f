#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "later.h"

static const struct unpack_target *to;
static struct later *directories;
static struct {
    int fd; /* -1 = none */
    char path[PATH_MAX];
} parent = {.fd = -1}; /* of the last member: most have the same */

/* ---- places ---- */

static int look_up(const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC), .resolve = to->resolve};
    int fd;
    do /* EAGAIN: a rename elsewhere raced with the lookup */
        fd = (int)syscall(SYS_openat2, to->root, *path ? path : ".", &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return fd < 0 ? -errno : fd;
}

/* `base` and a member's name as one path, "" for `base` itself; -EXDEV for `..` in the name. */
static int place(const char *name, char *path) {
    size_t used = strlen(to->base);
    if (used + 2 > PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, to->base, used + 1);
    bool replace = to->as != NULL;
    while (*name == '/')
        name++;
    while (*name) {
        size_t length = strcspn(name, "/");
        const char *part = replace ? to->as : name;
        size_t width = replace ? strlen(to->as) : length;
        if (length == 2 && memcmp(name, "..", 2) == 0)
            return -EXDEV;
        if (width && !(width == 1 && *part == '.')) {
            if (used + width + 2 > PATH_MAX)
                return -ENAMETOOLONG;
            if (used && path[used - 1] != '/')
                path[used++] = '/';
            memcpy(path + used, part, width);
            used += width;
            path[used] = 0;
        }
        replace = false;
        name += length;
        while (*name == '/')
            name++;
    }
    return 0;
}

/* Split off the last component: its name; what is before it goes to `directory`. */
static const char *split(const char *path, char *directory) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + (slash == path) : 0;
    memcpy(directory, path, length);
    directory[length] = 0;
    return slash ? slash + 1 : path;
}

/* The directory `path`; what is missing of it is made, for streams that do not list it. */
static int directory_at(const char *path) {
    int fd = look_up(path, O_PATH | O_DIRECTORY);
    if (fd != -ENOENT || !*path)
        return fd;
    char above[PATH_MAX];
    const char *name = split(path, above);
    int upper = directory_at(above);
    if (upper < 0)
        return upper;
    int status = mkdirat(upper, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
    close(upper);
    return status < 0 ? status : look_up(path, O_PATH | O_DIRECTORY);
}

/* The member's directory, which stays open for the next one; `*name` is its name there. */
static int enter(const char *path, const char **name) {
    char above[PATH_MAX];
    *name = split(path, above);
    if (parent.fd >= 0 && strcmp(parent.path, above) == 0)
        return parent.fd;
    if (parent.fd >= 0)
        close(parent.fd);
    parent.fd = directory_at(above);
    strcpy(parent.path, above);
    return parent.fd;
}

/* ---- members ---- */

static mode_t mode_of(const struct tar_entry *entry) {
    return entry->mode & (to->owners ? 07777 : 01777);
}

static void set_attributes(const struct tar_entry *entry, int fd) {
    const char *name;
    const uint8_t *value;
    size_t at = 0, name_length, length;
    char attribute[XATTR_NAME_MAX + 1];
    while (tar_attribute(entry, &at, &name, &name_length, &value, &length)) {
        if (name_length > XATTR_NAME_MAX || memcmp(name, "trusted.", 8) == 0)
            continue;
        memcpy(attribute, name, name_length);
        attribute[name_length] = 0;
        fsetxattr(fd, attribute, value, length, 0); /* as far as the file system takes them */
    }
}

static int settle(const struct tar_entry *entry, int fd, mode_t made) {
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = entry->mtime}};
    if (to->owners) {
        if (fchown(fd, entry->uid, entry->gid) < 0)
            return -errno;
        made = (mode_t)-1; /* it takes set-id bits away */
        set_attributes(entry, fd);
    }
    if (made != mode_of(entry) && fchmod(fd, mode_of(entry)) < 0)
        return -errno;
    return futimens(fd, times) < 0 ? -errno : 0;
}

/* A new file; one that cannot be removed, as the target of a mount, is written into. */
static int create(int directory, const char *name, mode_t mode) {
    int flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(directory, name, flags | O_EXCL, mode);
    if (fd >= 0 || errno != EEXIST)
        return fd < 0 ? -errno : fd;
    if (unlinkat(directory, name, 0) == 0) {
        fd = openat(directory, name, flags | O_EXCL, mode);
    } else if (errno == EBUSY) {
        struct stat found;
        fd = openat(directory, name, flags & ~O_CREAT);
        if (fd >= 0 && (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode) || ftruncate(fd, 0) < 0)) {
            close(fd);
            return -EBUSY;
        }
    }
    return fd < 0 ? -errno : fd;
}

static int make_file(struct tar_reader *reader, const struct tar_entry *entry, int directory, const char *name) {
    mode_t mode = mode_of(entry);
    int fd = create(directory, name, mode);
    if (fd < 0)
        return fd;
    int status = tar_read_data(reader, fd);
    if (status == 0)
        status = settle(entry, fd, mode);
    else
        unlinkat(directory, name, 0); /* half a file is of no use */
    close(fd);
    return status;
}

static int make_directory(const struct tar_entry *entry, const char *path) {
    const char *name;
    if (!*path || strcmp(path, to->base) == 0)
        return 0; /* where it all goes: it is there, and not the stream's */
    int directory = enter(path, &name);
    if (directory < 0)
        return directory;
    mode_t mode = mode_of(entry);
    if (mkdirat(directory, name, mode | 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = look_up(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fd == -ELOOP ? -ENOTDIR : fd;
    int status = 0;
    if (to->owners) {
        status = fchown(fd, entry->uid, entry->gid) < 0 ? -errno : 0;
        set_attributes(entry, fd);
    }
    close(fd);
    return status < 0 ? status : later_add(&directories, path, mode, entry->mtime);
}

/* A further name for a member of before. */
static int make_link(const struct tar_entry *entry, int directory, const char *name) {
    char path[PATH_MAX], above[PATH_MAX];
    int status = place(entry->link, path);
    if (status < 0)
        return status;
    const char *other = split(path, above);
    int from = look_up(above, O_PATH | O_DIRECTORY);
    if (from < 0)
        return from;
    if (linkat(from, other, directory, name, 0) < 0)
        status = -errno;
    close(from);
    return status;
}

static int make_other(const struct tar_entry *entry, int directory, const char *name) {
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = entry->mtime}};
    int status;
    if (unlinkat(directory, name, 0) < 0 && errno != ENOENT)
        return -errno;
    if (entry->kind == TAR_LINK)
        return make_link(entry, directory, name);
    if (entry->kind == TAR_SYMLINK)
        status = symlinkat(entry->link, directory, name);
    else
        status = mknodat(directory, name, S_IFIFO | mode_of(entry), 0);
    if (status == 0 && to->owners)
        status = fchownat(directory, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW);
    if (status == 0)
        status = utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW);
    return status < 0 ? -errno : 0;
}

static int make(struct tar_reader *reader, const struct tar_entry *entry, const char *path) {
    const char *name;
    if (entry->kind == TAR_DIRECTORY)
        return make_directory(entry, path);
    int directory = enter(path, &name);
    if (directory < 0)
        return directory;
    return entry->kind == TAR_REGULAR ? make_file(reader, entry, directory, name) : make_other(entry, directory, name);
}

/* ---- the stream ---- */

static int refuse(const struct tar_entry *entry, const char *path, int status, struct err *e) {
    switch (status) {
    case -EXDEV:
    case -ELOOP:
        return err_code(e, "invalidArgument", -status, "member %s leads out of the destination", entry->name);
    case -EISDIR:
        return err_code(e, "invalidArgument", EISDIR, "cannot copy a file over the directory %s", path);
    case -ENOTDIR:
        if (entry->kind == TAR_DIRECTORY)
            return err_code(e, "invalidArgument", ENOTDIR, "cannot copy directory over existing file: %s", path);
        break;
    case -ENODATA:
    case -EBADMSG: /* the map of a file with holes */
        return tar_failed(e, status);
    }
    return err_set(e, -status, "failed to write %s", path);
}

static int one(struct tar_reader *reader, const struct tar_entry *entry, struct err *e) {
    char path[PATH_MAX];
    int status = place(entry->name, path);
    if (status == 0 && (entry->kind == TAR_CHARACTER || entry->kind == TAR_BLOCK_DEVICE))
        return err_code(e, "invalidArgument", EINVAL, "%s is a device: devices are not copied", entry->name);
    if (status == 0)
        status = make(reader, entry, path);
    return status < 0 ? refuse(entry, path, status, e) : 0;
}

static int settle_directories(struct err *e) {
    for (const struct later *later = directories; later; later = later->next) {
        const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = later->mtime}};
        int fd = look_up(later->path, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
            continue; /* gone, or replaced, meanwhile */
        int status = fchmod(fd, later->mode) < 0 || futimens(fd, times) < 0 ? -errno : 0;
        close(fd);
        if (status < 0)
            return err_set(e, -status, "failed to set the mode of %s", later->path);
    }
    return 0;
}

int unpack(struct tar_reader *reader, const struct tar_entry *first, const struct unpack_target *target,
           struct err *e) {
    struct tar_entry entry = *first;
    int more = 1, status = 0;
    to = target;
    while (status == 0 && more > 0) {
        status = one(reader, &entry, e);
        if (status == 0)
            more = tar_read(reader, &entry);
    }
    if (status == 0 && more < 0)
        status = tar_failed(e, more);
    if (status == 0)
        status = settle_directories(e);
    if (status == 0)
        tar_drain(reader);
    later_free(&directories);
    if (parent.fd >= 0)
        close(parent.fd);
    parent.fd = -1;
    return status;
}
