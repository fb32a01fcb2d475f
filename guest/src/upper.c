#include "upper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent.h"
#include "dispatch.h"
#include "rootfs.h"

static int open_below(const char *name, struct err *e) {
    char path[PATH_MAX];
    int root = rootfs_fd(e);
    if (root < 0)
        return root;
    snprintf(path, sizeof path, "%s/%s", agent.state, name);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set(e, errno, "failed to open %s", path) : fd;
}

static int upper_do(unsigned long request, void *argument, const char *what, struct err *e) {
    int fd = open_below("u", e);
    if (fd < 0)
        return fd;
    int status = (request ? ioctl(fd, request, argument) : syncfs(fd)) < 0 ? -errno : 0;
    close(fd);
    return status < 0 ? err_set(e, -status, "failed to %s the root file system", what) : 0;
}

int upper_open(struct err *e) {
    return open_below("u/upper", e);
}

int upper_freeze(struct err *e) {
    int fd = open_below("u", e);
    if (fd < 0)
        return fd;
    flock(fd, LOCK_EX); /* one at a time: who comes second finds it frozen, and not half so */
    int status = ioctl(fd, FIFREEZE, NULL) < 0 ? -errno : 0;
    close(fd);
    /* EBUSY: by another; EOPNOTSUPP: a file system in memory, which is not written back */
    return status == 0 || status == -EBUSY || status == -EOPNOTSUPP
               ? 0
               : err_set(e, -status, "failed to freeze the root file system");
}

void upper_thaw(void) {
    struct err e;
    upper_do(FITHAW, NULL, "thaw", &e); /* EINVAL: nothing is frozen */
}

int op_sync(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    (void)number, (void)args, (void)result;
    return upper_do(0, NULL, "sync", e);
}

int op_trim(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    struct fstrim_range range = {.len = UINT64_MAX};
    (void)number, (void)args;
    int status = upper_do(FITRIM, &range, "trim", e);
    if (status == 0)
        *result = json_pack("{s:I}", "trimmed", (json_int_t)range.len);
    return status;
}
