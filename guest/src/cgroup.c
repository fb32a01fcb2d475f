#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "dispatch.h"

#define ROOT "/sys/fs/cgroup"
#define OURS ROOT "/container"

static long long oom_before;

static int put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return status;
}

/* Contents of a small file, "" when there is none. */
static const char *get(const char *path) {
    static char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[got > 0 ? got : 0] = 0;
    if (fd >= 0)
        close(fd);
    return text;
}

/* The number after `key ` at the start of a line; -1. */
static long long keyed(const char *text, const char *key) {
    size_t length = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, length) == 0 && line[length] == ' ')
            return strtoll(line + length + 1, NULL, 10);
    return -1;
}

static int limit(const char *file, const char *text, struct err *e) {
    char path[128];
    snprintf(path, sizeof path, OURS "/%s", file);
    int status = put(path, text);
    return status < 0 ? err_set(e, -status, "failed to set %s to %s", file, text) : 0;
}

void cgroup_prepare(void) {
    put(ROOT "/cgroup.subtree_control", "+cpu +memory +pids"); /* what the kernel lacks shows when a limit is set */
    mkdir(OURS, 0755);
    put(OURS "/cpu.max", "100000 100000"); /* any limit: see the header */
}

int cgroup_create(const json_t *container, struct err *e) {
    char text[64];
    long long memory = args_integer(container, "memoryMax", 0), quota = args_integer(container, "cpuQuota", 0);
    int status = 0;
    if (!agent.pid1)
        return -1;
    if (mkdir(OURS, 0755) < 0 && errno != EEXIST)
        return err_set(e, errno, "failed to make the container's cgroup");
    if (memory > 0) {
        snprintf(text, sizeof text, "%lld", memory);
        status = limit("memory.max", text, e);
    }
    if (status == 0 && quota > 0) {
        snprintf(text, sizeof text, "%lld 100000", quota);
        status = limit("cpu.max", text, e);
    } else
        put(OURS "/cpu.max", "max");
    if (status < 0)
        return status;
    oom_before = keyed(get(OURS "/memory.events"), "oom_kill");
    int fd = open(OURS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set(e, errno, "failed to open the container's cgroup") : fd;
}

/* The cgroup that a process is in now (cgroups(7)), below the container's; its directory as a descriptor, or -errno. */
static int open_of(pid_t pid) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    const char *text = get(path), *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    const char *below = line ? strchr(line, '/') : NULL;
    if (!below)
        return -ENOENT;
    snprintf(path, sizeof path, ROOT "%.*s", (int)strcspn(below, "\n"), below);
    if (strncmp(path, OURS "/", strlen(OURS "/")) != 0) /* its limits would not hold */
        return -EPERM;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static pid_t clone_into(struct clone_args *how, int cgroup) {
    if (cgroup >= 0)
        how->flags |= CLONE_INTO_CGROUP;
    how->cgroup = (unsigned)cgroup;
    pid_t pid = (pid_t)syscall(SYS_clone3, how, sizeof *how);
    return pid < 0 ? -errno : pid;
}

pid_t cgroup_clone(struct clone_args *how, int created, pid_t init) {
    pid_t pid = clone_into(how, created);
    if (pid != -EBUSY) /* it has handed controllers down, and so takes no processes itself */
        return pid;
    int current = open_of(init);
    if (current < 0)
        return current;
    pid = clone_into(how, current);
    if (pid != 0) /* else the child, which close-on-exec takes care of */
        close(current);
    return pid;
}

bool cgroup_oom_killed(void) {
    return agent.pid1 && keyed(get(OURS "/memory.events"), "oom_kill") > oom_before;
}

void cgroup_kill(void) {
    if (agent.pid1)
        put(OURS "/cgroup.kill", "1");
}

/* ---- statistics ---- */

/* Sectors of 512 bytes read and written, over all disks (Documentation/block/stat.rst). */
static void block_bytes(long long *read_bytes, long long *written) {
    char *copy = strdup(get("/proc/diskstats")), *rest = copy, *line;
    while (copy && (line = strsep(&rest, "\n"))) {
        char name[32];
        long long in, out;
        if (sscanf(line, "%*d %*d %31s %*d %*d %lld %*d %*d %*d %lld", name, &in, &out) != 3)
            continue;
        if (strncmp(name, "vd", 2) != 0 || (name[2] && name[3])) /* whole disks */
            continue;
        *read_bytes += in * 512;
        *written += out * 512;
    }
    free(copy);
}

static void network_bytes(long long *received, long long *sent) {
    char *copy = strdup(get("/proc/net/dev")), *rest = copy, *line;
    while (copy && (line = strsep(&rest, "\n"))) {
        char name[32];
        long long in, out;
        if (sscanf(line, " %31[^:]: %lld %*d %*d %*d %*d %*d %*d %*d %lld", name, &in, &out) == 3 &&
            strcmp(name, "lo") != 0) {
            *received += in;
            *sent += out;
        }
    }
    free(copy);
}

static void add(json_t *object, const char *key, long long value) {
    if (value >= 0)
        json_object_set_new(object, key, json_integer(value));
}

/* A single-number file of the cgroup; "max" and missing files are -1. */
static long long single(const char *path) {
    const char *text = get(path);
    return *text >= '0' && *text <= '9' ? strtoll(text, NULL, 10) : -1;
}

int op_statistics(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    long long in = 0, out = 0, received = 0, sent = 0;
    (void)number, (void)args;
    *result = json_object();
    if (!*result)
        return err_set(e, ENOMEM, "failed to collect statistics");
    block_bytes(&in, &out);
    network_bytes(&received, &sent);
    add(*result, "memoryUsageBytes", single(OURS "/memory.current"));
    add(*result, "memoryLimitBytes", single(OURS "/memory.max"));
    add(*result, "cpuUsageUsec", keyed(get(OURS "/cpu.stat"), "usage_usec"));
    add(*result, "networkRxBytes", received);
    add(*result, "networkTxBytes", sent);
    add(*result, "blockReadBytes", in);
    add(*result, "blockWriteBytes", out);
    add(*result, "numProcesses", single(OURS "/pids.current"));
    return 0;
}
