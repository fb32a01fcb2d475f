/*
 * container-share [--read-only] [--uid ID] [--gid ID] [--watch FD] SOURCE -- PROGRAM [ARGUMENT...]
 *
 * Becomes PROGRAM in a mount namespace of its own in which SHARE_DIRECTORY is the directory SOURCE, or holds the file
 * SOURCE alone, under the name "file". Read-only means all of it, with what is mounted below. Neither device nodes nor
 * setuid programs mean anything there. --uid and --gid: see idmap.h. --watch: changes of SOURCE are told to the
 * socket FD (watch.h), and the program can pretend some (pretend.h).
 *
 * The process ends with its parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "idmap.h"
#include "pass.h"
#include "pretend.h"
#include "watch.h"

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

/* A child that watches the share, in the same namespaces, and answers the calls that this process will pretend. */
static void start_watcher(int out) {
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        fail_errno(errno, "cannot make a socket");
    pid_t pid = fork();
    if (pid < 0)
        fail_errno(errno, "cannot start a process");
    if (pid == 0) {
        close(pair[0]);
        die_with_parent();
        int listener = pass_receive(pair[1]);
        if (listener < 0)
            _exit(1);
        watch(SHARE_DIRECTORY, out, listener);
    }
    int listener = pretend_install();
    if (listener < 0)
        fail_errno(listener, "cannot watch the share for changes: seccomp(2)");
    int status = pass_descriptors(pair[0], &listener, 1);
    if (status < 0)
        fail_errno(status, "cannot hand on a descriptor");
    close(listener);
    close(out);
    close(pair[0]);
    close(pair[1]);
}

struct options {
    bool read_only;
    long long uid, gid;
    int watch;
};

static _Noreturn void usage(void) {
    fail("usage: container-share [--read-only] [--uid ID] [--gid ID] [--watch FD] SOURCE -- PROGRAM [ARGUMENT...]");
}

/* Returns the rest of the arguments. */
static char **parse(int argc, char **argv, struct options *options) {
    static const struct option known[] = {
        {"read-only", no_argument, NULL, 'r'},
        {"uid", required_argument, NULL, 'u'},
        {"gid", required_argument, NULL, 'g'},
        {"watch", required_argument, NULL, 'w'},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "+", known, NULL)) != -1;) {
        char *end = "";
        long long value = option == 'r' ? 0 : strtoll(optarg ? optarg : "x", &end, 10);
        if (*end || value < 0 || end == optarg)
            usage();
        if (option == 'r')
            options->read_only = true;
        else if (option == 'u')
            options->uid = value;
        else if (option == 'g')
            options->gid = value;
        else
            options->watch = (int)value;
    }
    if (argc - optind < 3 || strcmp(argv[optind + 1], "--") != 0)
        usage();
    return argv + optind;
}

int main(int argc, char **argv) {
    struct options options = {.uid = IDMAP_NONE, .gid = IDMAP_NONE, .watch = -1};
    char **rest = parse(argc, argv, &options);

    if (options.uid != IDMAP_NONE || options.gid != IDMAP_NONE)
        idmap_enter(rest[0], options.uid, options.gid);
    die_with_parent(); /* now: a change of credentials clears it */
    raise_limit();
    share(rest[0], options.read_only);
    if (chdir("/") < 0)
        fail_errno(errno, "cannot enter /");
    if (options.watch >= 0)
        start_watcher(options.watch);
    execv(rest[2], rest + 2);
    fail_errno(errno, "cannot start %s", rest[2]);
}
