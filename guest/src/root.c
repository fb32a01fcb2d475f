#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as the kernel's MAXSYMLINKS */

int root_open(int root, const char *path, int flags, mode_t mode) {
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    int fd;
    do /* EAGAIN: a rename elsewhere raced with the lookup */
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return fd < 0 ? -errno : fd;
}

/* Where the link `name` in `directory`, which is `parent`, leads: a path in the root; -EINVAL when it is none. */
static int link_target(int directory, const char *parent, const char *name, char *target) {
    char text[PATH_MAX];
    ssize_t length = readlinkat(directory, name, text, sizeof text);
    if (length < 0)
        return -errno;
    int used = snprintf(target, PATH_MAX, "%s/%.*s", *text == '/' ? "" : parent, (int)length, text);
    return used < 0 || used >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int make_all(int root, const char *path, int links);

/* The directory `path`, whose parent exists; at a link that leads to nothing, what it is meant to lead to. */
static int make_one(int root, const char *parent, const char *path, const char *name, int links) {
    char target[PATH_MAX];
    int fd = root_open(root, path, O_PATH | O_DIRECTORY, 0);
    if (fd != -ENOENT)
        return fd;
    int above = root_open(root, parent, O_PATH | O_DIRECTORY, 0);
    if (above < 0)
        return above;
    int status = mkdirat(above, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
    if (status == 0)
        fd = root_open(root, path, O_PATH | O_DIRECTORY, 0);
    if (status == 0 && fd == -ENOENT)
        status = links > 0 ? link_target(above, parent, name, target) : -ELOOP;
    close(above);
    if (status < 0)
        return status;
    return fd == -ENOENT ? make_all(root, target, links - 1) : fd;
}

static int make_all(int root, const char *path, int links) {
    char whole[PATH_MAX], parent[PATH_MAX] = "/";
    int fd = root_open(root, path, O_PATH | O_DIRECTORY, 0);
    if (fd != -ENOENT)
        return fd;
    if (strlen(path) >= sizeof whole)
        return -ENAMETOOLONG;
    for (const char *at = path; *at;) {
        char name[NAME_MAX + 1];
        while (*at == '/')
            at++;
        size_t length = strcspn(at, "/");
        if (!length)
            break;
        if (length > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, at, length);
        name[length] = 0;
        at += length;
        memcpy(whole, path, (size_t)(at - path));
        whole[at - path] = 0;
        if (fd >= 0)
            close(fd);
        fd = make_one(root, parent, whole, name, links);
        if (fd < 0)
            return fd;
        strcpy(parent, whole);
    }
    return fd;
}

int root_mkdirs(int root, const char *path) {
    return make_all(root, path, LINKS_MAX);
}

static int make_file(int root, const char *path, int links) {
    char parent[PATH_MAX], target[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) + 1 >= sizeof parent)
        return -EINVAL;
    memcpy(parent, path, (size_t)(slash - path) + 1);
    parent[slash - path + 1] = 0;
    int above = root_mkdirs(root, parent);
    if (above < 0)
        return above;
    int file = root_open(root, path, O_RDONLY | O_CREAT, 0644), status = 0;
    if (file == -ENOENT) /* a link into a directory that is not there */
        status = links > 0 ? link_target(above, parent, slash + 1, target) : -ELOOP;
    close(above);
    if (status == 0 && file == -ENOENT)
        return make_file(root, target, links - 1);
    if (file < 0)
        return status < 0 ? status : file;
    close(file);
    return root_open(root, path, O_PATH, 0);
}

int root_target(int root, const char *path, bool directory) {
    int fd = root_open(root, path, O_PATH, 0);
    if (fd != -ENOENT)
        return fd;
    return directory ? root_mkdirs(root, path) : make_file(root, path, LINKS_MAX);
}

int root_mount(int target, const char *source, const char *type, unsigned long flags, const char *data) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", target);
    return mount(source, path, type, flags, data) < 0 ? -errno : 0;
}
