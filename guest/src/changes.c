#include "changes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ours.h"

static FILE *output;
static char name[PATH_MAX]; /* of the current file, without a slash before it */

static int walk(int upper, int lower, size_t length, bool *changed, struct err *e);

static int unreadable(struct err *e) {
    return err_set(e, errno, "failed to read /%s", name);
}

static void tell(char kind) {
    fprintf(output, "%c/%s%c", kind, name, 0);
}

/* Over the children of a directory; `visit` gets each with its name appended to `name`. */
static int each(int directory, size_t length, int (*visit)(const char *child, void *context, struct err *e),
                void *context, struct err *e) {
    int status = 0, copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *children = copy < 0 ? NULL : fdopendir(copy);
    if (!children)
        return unreadable(e);
    for (struct dirent *child; status == 0 && (errno = 0, child = readdir(children));) {
        if (strcmp(child->d_name, ".") == 0 || strcmp(child->d_name, "..") == 0)
            continue;
        if ((size_t)snprintf(name + length, sizeof name - length, "%s%s", length ? "/" : "", child->d_name) >=
            sizeof name - length)
            status = err_set(e, ENAMETOOLONG, "failed to read /%.64s…", name);
        else
            status = visit(child->d_name, context, e);
        name[length] = 0;
    }
    closedir(children);
    return status;
}

/* ---- a directory that hides what is below it ---- */

static int visit_hidden(const char *child, void *context, struct err *e) {
    struct stat found;
    int upper = *(int *)context;
    (void)e;
    if (fstatat(upper, child, &found, AT_SYMLINK_NOFOLLOW) < 0)
        tell('D');
    return 0;
}

static bool is_opaque(int directory) {
    char mark[2];
    return fgetxattr(directory, "trusted.overlay.opaque", mark, sizeof mark) == 1 && mark[0] == 'y';
}

/* ---- one file ---- */

struct pair {
    int upper, lower; /* lower -1 = there is none */
    bool changed;
};

/* `before`: the directory below it, NULL = there is none, and then it is told as `kind`. */
static int compare_directories(const char *child, const struct stat *found, const struct stat *before, char kind,
                               struct pair *pair, struct err *e) {
    size_t length = strlen(name);
    int upper = openat(pair->upper, child, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (upper < 0)
        return unreadable(e);
    int lower = before ? openat(pair->lower, child, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    bool changed = before && (found->st_mode != before->st_mode || found->st_uid != before->st_uid ||
                              found->st_gid != before->st_gid);
    int status = 0;
    if (lower >= 0 && is_opaque(upper)) {
        changed = true;
        status = each(lower, length, visit_hidden, &upper, e);
    }
    if (status == 0)
        status = walk(upper, lower, length, &changed, e);
    close(upper);
    if (lower >= 0)
        close(lower);
    if (!before || changed)
        tell(before ? 'C' : kind);
    pair->changed = pair->changed || !before || changed;
    return status;
}

static int visit(const char *child, void *context, struct err *e) {
    struct pair *pair = context;
    struct stat found, before;
    if (ours(name))
        return 0;
    if (fstatat(pair->upper, child, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : unreadable(e);
    bool existed = pair->lower >= 0 && fstatat(pair->lower, child, &before, AT_SYMLINK_NOFOLLOW) == 0;
    if (S_ISDIR(found.st_mode))
        return compare_directories(child, &found, existed && S_ISDIR(before.st_mode) ? &before : NULL,
                                   existed ? 'C' : 'A', pair, e);
    pair->changed = true;
    if (S_ISCHR(found.st_mode) && found.st_rdev == 0)
        tell('D');
    else
        tell(existed ? 'C' : 'A');
    return 0;
}

static int walk(int upper, int lower, size_t length, bool *changed, struct err *e) {
    struct pair pair = {.upper = upper, .lower = lower};
    int status = each(upper, length, visit, &pair, e);
    *changed = *changed || pair.changed;
    return status;
}

int changes_write(int upper, int lower, int fd, struct err *e) {
    bool changed = false;
    output = fdopen(fd, "w");
    if (!output)
        return err_set(e, errno, "failed to write the changes");
    int status = walk(upper, lower, 0, &changed, e);
    if (fclose(output) != 0 && status == 0)
        status = err_set(e, errno, "failed to write the changes");
    return status;
}
