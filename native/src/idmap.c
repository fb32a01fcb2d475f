#define _GNU_SOURCE
#include "idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"

enum { TEXT_MAX = 4096 }; /* the kernel takes no more than a page */

#define OVERFLOW 65534LL /* how an id looks that this namespace does not have */
#define ALL 4294967295LL /* ids, in a namespace that has every one */

struct map {
    const char *noun, *file; /* `uid`, `uid_map` */
    long long owner, wanted;
    char text[TEXT_MAX];
    size_t used;
};

static void extent(struct map *map, long long inside, long long outside, long long count) {
    if (count <= 0)
        return;
    int length = snprintf(map->text + map->used, TEXT_MAX - map->used, "%lld %lld %lld\n", inside, outside, count);
    if (length < 0 || (size_t)length >= TEXT_MAX - map->used)
        fail("cannot map the %s of a share: there are too many ranges", map->noun);
    map->used += (size_t)length;
}

/* The ids from `first` on as they are, but for two of them, which change places. */
static void exchange(struct map *map, long long first, long long count) {
    long long low = map->owner < map->wanted ? map->owner : map->wanted;
    long long high = map->owner + map->wanted - low, end = first + count;
    for (int i = 0; i < 2; i++) {
        long long id = i ? high : low;
        if (id < first || id >= end)
            continue;
        extent(map, first, first, id - first);
        extent(map, id, low + high - id, 1);
        first = id + 1;
    }
    extent(map, first, first, end - first);
}

/* The map of a namespace below this one. */
static void make(struct map *map) {
    char path[32];
    long long inside, count;
    bool has_owner = false, has_wanted = false;
    if (map->wanted == IDMAP_NONE)
        map->wanted = map->owner;
    snprintf(path, sizeof path, "/proc/self/%s", map->file);
    FILE *file = fopen(path, "re");
    if (!file)
        fail_errno(errno, "cannot open %s", path);
    while (fscanf(file, "%lld %*d %lld", &inside, &count) == 2) {
        has_owner = has_owner ||
                    (map->owner >= inside && map->owner < inside + count && (map->owner != OVERFLOW || count == ALL));
        has_wanted = has_wanted || (map->wanted >= inside && map->wanted < inside + count);
        if (map->owner == map->wanted)
            extent(map, inside, inside, count);
        else
            exchange(map, inside, count);
    }
    fclose(file);
    if (!has_wanted)
        fail("%s=%lld is not among the ids that the user has (subuid(5), subgid(5))", map->noun, map->wanted);
    if (!has_owner)
        fail("%s= is not possible: the source does not belong to the user", map->noun);
}

static void write_map(pid_t pid, const struct map *map) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, map->file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, map->text, map->used) != (ssize_t)map->used)
        fail_errno(errno, "cannot map the %s of a share", map->noun);
    close(fd);
}

/* From outside: a namespace has no say about its own map. */
static pid_t start_writer(int ready, const struct map *uids, const struct map *gids) {
    pid_t parent = getpid(), pid = fork();
    char byte;
    if (pid < 0)
        fail_errno(errno, "cannot start a process");
    if (pid > 0)
        return pid;
    if (read(ready, &byte, 1) != 1)
        _exit(1);
    write_map(parent, gids);
    write_map(parent, uids);
    _exit(0);
}

void idmap_enter(const char *source, long long uid, long long gid) {
    static struct map uids = {.noun = "uid", .file = "uid_map"}, gids = {.noun = "gid", .file = "gid_map"};
    struct stat found;
    int ready[2], status;
    if (stat(source, &found) < 0)
        fail_errno(errno, "cannot share %s", source);
    uids.owner = found.st_uid, uids.wanted = uid;
    gids.owner = found.st_gid, gids.wanted = gid;
    make(&uids);
    make(&gids);
    if (pipe2(ready, O_CLOEXEC) < 0)
        fail_errno(errno, "cannot make a pipe");
    pid_t writer = start_writer(ready[0], &uids, &gids);
    if (unshare(CLONE_NEWUSER) < 0)
        fail_errno(errno, "cannot make a user namespace");
    if (write(ready[1], "", 1) != 1 || waitpid(writer, &status, 0) < 0)
        fail_errno(errno, "cannot map the ids of a share");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        exit(1); /* it has said why */
    close(ready[0]);
    close(ready[1]);
    /* The program is to be root inside, to which the owner's id need not belong any more. */
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        fail_errno(errno, "cannot become root in the share's user namespace");
}
