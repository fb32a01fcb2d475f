#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "links.h"

enum { NAMES_MAX = 65536, CHUNK = 1 << 20 };

#define MARK ".container-filling" /* in a directory whose copy is not complete */

struct copy {
    int top; /* the target's */
    struct links links;
    char path[PATH_MAX]; /* below `top`, of what is being copied */
};

static DIR *list_open(int directory) {
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list && fd >= 0)
        close(fd);
    return list;
}

static struct dirent *list_next(DIR *list) {
    struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(list);
    } while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    return entry;
}

static int tree_is_empty(int directory) {
    DIR *list = list_open(directory);
    if (!list)
        return -errno;
    struct dirent *entry = list_next(list);
    int status = entry ? 0 : errno ? -errno : 1;
    closedir(list);
    return status;
}

/* Attributes that the target's file system does not have are left out. */
static int copy_attributes(int from, int to) {
    char *names = malloc(NAMES_MAX), *value = malloc(NAMES_MAX);
    ssize_t length = names && value ? flistxattr(from, names, NAMES_MAX) : -1;
    int status = 0;
    for (char *name = names; name && name < names + length && status == 0; name += strlen(name) + 1) {
        ssize_t size = fgetxattr(from, name, value, NAMES_MAX);
        if (strncmp(name, "trusted.overlay.", 16) == 0 || size < 0)
            continue;
        if (fsetxattr(to, name, value, (size_t)size, 0) < 0 && errno != EOPNOTSUPP && errno != EPERM)
            status = -errno;
    }
    free(names);
    free(value);
    return status;
}

/* The owner first: a change of it clears the mode's setuid bit and file capabilities. */
static int dress(int from, int to, const struct stat *like) {
    const struct timespec times[2] = {like->st_atim, like->st_mtim};
    if (fchown(to, like->st_uid, like->st_gid) < 0 || fchmod(to, like->st_mode & 07777) < 0)
        return -errno;
    int status = copy_attributes(from, to);
    if (status == 0 && futimens(to, times) < 0)
        status = -errno;
    return status;
}

static int dress_at(int directory, const char *name, const struct stat *like) {
    const struct timespec times[2] = {like->st_atim, like->st_mtim};
    if (fchownat(directory, name, like->st_uid, like->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    /* NOFOLLOW: others may have the directory as well, and put a link there by now */
    if (!S_ISLNK(like->st_mode) && fchmodat(directory, name, like->st_mode & 07777, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_bytes(int from, int to) {
    ssize_t sent;
    do
        sent = sendfile(to, from, NULL, CHUNK);
    while (sent > 0 || (sent < 0 && errno == EINTR));
    return sent < 0 ? -errno : 0;
}

static int copy_contents(int from, int to, const char *name, const struct stat *like) {
    int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int target = source < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int status = target < 0 ? -errno : copy_bytes(source, target);
    if (status == 0)
        status = dress(source, target, like);
    if (target >= 0 && close(target) < 0 && status == 0)
        status = -errno;
    if (source >= 0)
        close(source);
    return status;
}

static int copy_link(int from, int to, const char *name, const struct stat *like) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(from, name, target, sizeof target - 1);
    if (length < 0)
        return -errno;
    target[length] = 0;
    return symlinkat(target, to, name) < 0 ? -errno : dress_at(to, name, like);
}

static int copy_node(int to, const char *name, const struct stat *like) {
    if (mknodat(to, name, like->st_mode, like->st_rdev) < 0)
        return errno == EPERM ? 0 : -errno;
    return dress_at(to, name, like);
}

/* A file of any kind but a directory; what an interrupted copy left in its place goes. */
static int copy_file(struct copy *copy, int from, int to, const char *name, const struct stat *like) {
    const char *first = like->st_nlink > 1 ? links_find(&copy->links, like, copy->path) : NULL;
    if (unlinkat(to, name, 0) < 0 && errno != ENOENT)
        return -errno;
    if (first)
        return linkat(copy->top, first, to, name, 0) < 0 ? -errno : 0;
    if (S_ISREG(like->st_mode))
        return copy_contents(from, to, name, like);
    return S_ISLNK(like->st_mode) ? copy_link(from, to, name, like) : copy_node(to, name, like);
}

static int copy_entries(struct copy *copy, int from, int to, struct err *e);

static int copy_directory(struct copy *copy, int from, int to, const char *name, struct err *e) {
    int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int target = source < 0 || (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
                     ? -1
                     : openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int status = target < 0 ? err_set(e, errno, "failed to copy %s", name) : copy_entries(copy, source, target, e);
    if (target >= 0)
        close(target);
    if (source >= 0)
        close(source);
    return status;
}

static int copy_entry(struct copy *copy, int from, int to, const char *name, struct err *e) {
    struct stat like;
    size_t length = strlen(copy->path);
    int status = fstatat(from, name, &like, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    if (status == 0 && length + strlen(name) + 2 > sizeof copy->path)
        status = -ENAMETOOLONG;
    if (status < 0 || S_ISSOCK(like.st_mode))
        return status < 0 ? err_set(e, -status, "failed to copy %s", name) : 0;
    snprintf(copy->path + length, sizeof copy->path - length, "%s%s", length ? "/" : "", name);
    if (S_ISDIR(like.st_mode)) {
        status = copy_directory(copy, from, to, name, e);
    } else {
        status = copy_file(copy, from, to, name, &like);
        if (status < 0)
            err_set(e, -status, "failed to copy %s", copy->path);
    }
    copy->path[length] = 0;
    return status;
}

static int copy_entries(struct copy *copy, int from, int to, struct err *e) {
    struct stat like;
    struct dirent *entry;
    DIR *list = list_open(from);
    if (!list)
        return err_set(e, errno, "failed to list a directory");
    int status = 0;
    while (status == 0 && (entry = list_next(list)))
        status = copy_entry(copy, from, to, entry->d_name, e);
    if (status == 0 && errno)
        status = err_set(e, errno, "failed to list a directory");
    closedir(list);
    if (status < 0)
        return status;
    status = fstat(from, &like) < 0 ? -errno : dress(from, to, &like);
    return status < 0 ? err_set(e, -status, "failed to copy the attributes of a directory") : 0;
}

/* The mark goes when all the rest is on the disk. */
static int complete(int from, int to, struct err *e) {
    struct stat like;
    if (fstat(from, &like) < 0 || syncfs(to) < 0 || unlinkat(to, MARK, 0) < 0)
        return err_set(e, errno, "failed to complete the copy");
    const struct timespec times[2] = {like.st_atim, like.st_mtim};
    if (futimens(to, times) < 0 || syncfs(to) < 0)
        return err_set(e, errno, "failed to complete the copy");
    return 0;
}

int tree_fill(int from, int to, struct err *e) {
    struct copy copy = {.top = to};
    bool begun = faccessat(to, MARK, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    int empty = begun ? 0 : tree_is_empty(to);
    if (!begun && empty <= 0)
        return empty < 0 ? err_set(e, -empty, "failed to list a directory") : 0;
    int mark = openat(to, MARK, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (mark < 0 && errno == EROFS && !begun)
        return 0; /* it stays empty */
    if (mark < 0 || fsync(mark) < 0) {
        int status = err_set(e, errno, "failed to begin the copy");
        if (mark >= 0)
            close(mark);
        return status;
    }
    close(mark);
    int status = copy_entries(&copy, from, to, e);
    links_free(&copy.links);
    return status < 0 ? status : complete(from, to, e);
}
