#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "root.h"

enum { LINKS_MAX = 40 }; /* as the kernel's MAXSYMLINKS */

static bool ends_with_slash(const char *path) {
    size_t length = strlen(path);
    return length && path[length - 1] == '/';
}

/* `path` without slashes at its end; `/` stays. */
static int trim(const char *path, char *trimmed, struct err *e) {
    size_t length = strlen(path);
    if (length >= PATH_MAX)
        return err_set(e, ENAMETOOLONG, "%.64s…", path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    memcpy(trimmed, path, length);
    trimmed[length] = 0;
    return 0;
}

/* Into the directory and the last component. */
static void split(const char *path, char *base, char *as) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + (slash == path) : 0;
    memcpy(base, path, length);
    base[length] = 0;
    strcpy(as, slash ? slash + 1 : path);
}

const char *place_name(const char *path, char *name) {
    char base[PATH_MAX], trimmed[PATH_MAX];
    struct err e;
    name[0] = 0;
    if (trim(path, trimmed, &e) == 0)
        split(trimmed, base, name);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        name[0] = 0;
    return name;
}

int place_source(int root, const char *path, struct err *e) {
    struct stat found;
    char trimmed[PATH_MAX];
    int status = trim(path, trimmed, e);
    if (status < 0)
        return status;
    int fd = root_open(root, path, O_PATH, 0);
    if (fd == -ENOTDIR && ends_with_slash(path) && (fd = root_open(root, trimmed, O_PATH, 0)) >= 0) {
        close(fd);
        return err_code(e, "invalidArgument", ENOTDIR, "source path is not a directory: %s", path);
    }
    if (fd == -ENOENT || fd == -ENOTDIR)
        return err_code(e, "notFound", ENOENT, "source path does not exist: %s", path);
    if (fd < 0)
        return err_set(e, -fd, "failed to open %s", path);
    status = fstat(fd, &found) < 0 ? -errno : 0;
    close(fd);
    if (status == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode))
        return err_code(e, "invalidArgument", EINVAL, "source path is no file and no directory: %s", path);
    fd = root_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    return fd < 0 ? err_set(e, -fd, "failed to read %s", path) : fd;
}

/* Follow the links that `path` ends in, so that what they lead to is replaced and not they. */
static int follow(int root, char *path, struct err *e) {
    char base[PATH_MAX], as[PATH_MAX], target[PATH_MAX];
    for (int i = 0; i < LINKS_MAX; i++) {
        split(path, base, as);
        int directory = root_open(root, *base ? base : "/", O_PATH | O_DIRECTORY, 0);
        ssize_t length = directory < 0 ? -1 : readlinkat(directory, as, target, sizeof target - 1);
        if (directory >= 0)
            close(directory);
        if (length < 0)
            return 0;
        target[length] = 0;
        size_t used = target[0] == '/' ? 0 : strlen(base);
        if (used + (size_t)length + 2 > PATH_MAX)
            return err_set(e, ENAMETOOLONG, "failed to follow the link %s", path);
        memcpy(path, base, used);
        path[used] = '/';
        strcpy(path + used + 1, target);
    }
    return err_set(e, ELOOP, "failed to follow the link %s", path);
}

static int in_its_place(int root, char *trimmed, const char *path, bool exists, bool parents, struct place *place,
                        struct err *e) {
    int status = exists ? follow(root, trimmed, e) : 0;
    if (status < 0)
        return status;
    split(trimmed, place->base, place->as);
    if (!place->base[0])
        strcpy(place->base, "/");
    if (strcmp(place->as, ".") == 0 || strcmp(place->as, "..") == 0)
        return err_code(e, "notFound", ENOENT, "destination directory does not exist: %s", path);
    int above = parents ? root_mkdirs(root, place->base) : root_open(root, place->base, O_PATH | O_DIRECTORY, 0);
    if (above == -ENOENT)
        return err_code(e, "notFound", ENOENT, "destination directory does not exist: %s", place->base);
    if (above < 0)
        return err_set(e, -above, "failed to open %s", place->base);
    close(above);
    return 0;
}

int place_destination(int root, const char *path, bool directory, const char *name, bool parents, struct place *place,
                      struct err *e) {
    struct stat found;
    char trimmed[PATH_MAX];
    int status = trim(path, trimmed, e);
    if (status < 0)
        return status;
    int fd = root_open(root, trimmed, O_PATH, 0);
    if (fd < 0 && fd != -ENOENT)
        return err_set(e, -fd, "failed to open %s", path);
    if (fd == -ENOENT) {
        if (!directory && ends_with_slash(path))
            return err_code(e, "notFound", ENOENT, "destination directory does not exist: %s", path);
        return in_its_place(root, trimmed, path, false, parents, place, e);
    }
    status = fstat(fd, &found) < 0 ? -errno : 0;
    close(fd);
    if (status == 0 && S_ISDIR(found.st_mode)) {
        strcpy(place->base, trimmed);
        strcpy(place->as, name);
        return 0;
    }
    if (ends_with_slash(path))
        return err_code(e, "invalidArgument", ENOTDIR, "destination is not a directory: %s", path);
    if (directory)
        return err_code(e, "invalidArgument", ENOTDIR, "cannot copy directory over existing file: %s", path);
    return in_its_place(root, trimmed, path, true, parents, place, e);
}

int place_into(int root, const char *path, struct place *place, struct err *e) {
    int status = trim(path, place->base, e);
    if (status < 0)
        return status;
    int fd = root_open(root, path, O_PATH | O_DIRECTORY, 0);
    place->as[0] = 0;
    if (fd == -ENOENT)
        return err_code(e, "notFound", ENOENT, "destination directory does not exist: %s", path);
    if (fd == -ENOTDIR)
        return err_code(e, "invalidArgument", ENOTDIR, "destination is not a directory: %s", path);
    if (fd < 0)
        return err_set(e, -fd, "failed to open %s", path);
    close(fd);
    return 0;
}
