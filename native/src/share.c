/*
 * container-share [--read-only] SOURCE -- PROGRAM [ARGUMENT...]
 *
 * Becomes PROGRAM in a mount namespace of its own in which SHARE_DIRECTORY is the directory SOURCE, or holds the file
 * SOURCE alone, under the name "file". Read-only means all of it, with what is mounted below. Neither device nodes nor
 * setuid programs mean anything there.
 *
 * The process ends with its parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

enum { FILES_MAX = 1000000 };

#define BASE "/tmp" /* there on every host; what is in it is not needed by PROGRAM */
#define SHARE_DIRECTORY BASE "/share"
#define FILE_NAME SHARE_DIRECTORY "/file"

/* The server keeps a descriptor for each file that the guest knows. */
static void raise_limit(void) {
    struct rlimit limit = {.rlim_cur = FILES_MAX, .rlim_max = FILES_MAX};

    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void die_with_parent(void) {
    pid_t parent = getppid();

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        fail_errno(errno, "cannot ask for a death signal");
    if (getppid() != parent)
        fail("the parent is gone");
}

/* A copy of the mount at `source`, with all below it, that nothing else sees yet. */
static int clone_tree(const char *source, bool read_only) {
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0U),
    };
    int tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

    if (tree < 0)
        fail_errno(errno, "cannot share %s", source);
    if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        fail_errno(errno, "cannot share %s%s", source, read_only ? " read-only" : "");
    return tree;
}

static void make_place(bool directory) {
    if (mount("share", BASE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=8") < 0)
        fail_errno(errno, "cannot mount a tmpfs on " BASE);
    if (mkdir(SHARE_DIRECTORY, 0755) < 0)
        fail_errno(errno, "cannot make " SHARE_DIRECTORY);
    if (directory)
        return;
    /* a mount of its own, so that the server finds one file system below its root */
    if (mount(SHARE_DIRECTORY, SHARE_DIRECTORY, NULL, MS_BIND, NULL) < 0)
        fail_errno(errno, "cannot bind " SHARE_DIRECTORY);
    int file = open(FILE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        fail_errno(errno, "cannot make " FILE_NAME);
    close(file);
}

static void share(const char *source, bool read_only) {
    struct stat found;

    if (unshare(CLONE_NEWNS) < 0)
        fail_errno(errno, "cannot make a mount namespace");
    /* What the host unmounts goes here as well, and nothing that is mounted here is seen there. */
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        fail_errno(errno, "cannot detach from the host's mounts");
    int tree = clone_tree(source, read_only);
    if (fstat(tree, &found) < 0)
        fail_errno(errno, "cannot share %s", source);
    if (!S_ISDIR(found.st_mode) && !S_ISREG(found.st_mode))
        fail("cannot share %s: it is neither a directory nor a regular file", source);
    bool directory = S_ISDIR(found.st_mode);
    make_place(directory);
    const char *place = directory ? SHARE_DIRECTORY : FILE_NAME;
    if (move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        fail_errno(errno, "cannot mount %s", source);
    close(tree);
    struct mount_attr closed = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount_setattr(AT_FDCWD, BASE, 0, &closed, sizeof(closed)) < 0 ||
        (!directory && mount_setattr(AT_FDCWD, SHARE_DIRECTORY, 0, &closed, sizeof(closed)) < 0))
        fail_errno(errno, "cannot make " BASE " read-only");
}

int main(int argc, char **argv) {
    bool read_only = argc > 1 && strcmp(argv[1], "--read-only") == 0;
    char **rest = argv + 1 + read_only;

    if (argc < 4 + read_only || strcmp(rest[1], "--") != 0)
        fail("usage: container-share [--read-only] SOURCE -- PROGRAM [ARGUMENT...]");
    die_with_parent();
    raise_limit();
    share(rest[0], read_only);
    if (chdir("/") < 0)
        fail_errno(errno, "cannot enter /");
    execv(rest[2], rest + 2);
    fail_errno(errno, "cannot start %s", rest[2]);
}
