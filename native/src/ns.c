#define _GNU_SOURCE
#include "ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "err.h"

static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t length = (ssize_t)strlen(text);
    int result = write(fd, text, (size_t)length) == length ? 0 : -errno;
    close(fd);
    return result;
}

static void map_ids(const char *path, unsigned outside) {
    char line[32];
    int result;

    snprintf(line, sizeof(line), "0 %u 1\n", outside);
    result = write_file(path, line);
    if (result < 0)
        fail_errno(result, "cannot write %s", path);
}

void ns_create(bool user) {
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (unshare(CLONE_NEWNET | (user ? CLONE_NEWUSER : 0)) < 0)
        fail_errno(errno, "cannot create a network namespace%s",
                   user ? "; an ordinary user needs user namespaces, see the sysctls user.max_user_namespaces, "
                          "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns"
                        : "");
    if (!user)
        return;
    /* user_namespaces(7): without privileges gid_map may be written only once setgroups(2) is denied. */
    int result = write_file("/proc/self/setgroups", "deny");
    if (result < 0)
        fail_errno(result, "cannot write /proc/self/setgroups");
    map_ids("/proc/self/uid_map", uid);
    map_ids("/proc/self/gid_map", gid);
}

int ns_enter(int netns, int userns) {
    /* Become its root: a caller with another identity there would lose its capabilities at the next execve(2). */
    if (userns >= 0 && (setns(userns, CLONE_NEWUSER) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        return -errno;
    return setns(netns, CLONE_NEWNET) < 0 ? -errno : 0;
}

int ns_sysctl(const char *key, const char *value) {
    char path[256];

    if (snprintf(path, sizeof(path), "/proc/sys/%s", key) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    return write_file(path, value);
}
