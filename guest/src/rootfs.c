#include "rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "disk.h"
#include "dispatch.h"
#include "log.h"
#include "root.h"
#include "rootdir.h"
#include "unmount.h"
#include "upper.h"

enum { LAYERS_MAX = 256 };

static int root_fd = -1;
static int layers; /* mounted */
static bool lower_mounted;
static char lower[PATH_MAX]; /* directories of the layers, the topmost first, as overlay wants them */

static void state_path(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", agent.state, name);
}

int rootfs_fd(struct err *e) {
    return root_fd >= 0 ? root_fd : err_code(e, "invalidState", ENOENT, "no root file system is mounted");
}

int rootfs_open(struct err *e) {
    char path[PATH_MAX];
    state_path(path, sizeof path, "r");
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set(e, errno, "failed to open %s", path) : fd;
}

static int mount_at(const char *name, const char *source, const char *type, unsigned long flags, const char *data,
                    struct err *e) {
    char path[PATH_MAX];
    state_path(path, sizeof path, name);
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_set(e, errno, "failed to make %s", path);
    if (mount(source, path, type, flags, data) < 0)
        return err_set(e, errno, "failed to mount %s (%s) on %s", source, type, path);
    return 0;
}

static int mount_layer(const char *image, int partition, char *below, size_t size, struct err *e) {
    char device[128], name[16], rest[PATH_MAX];
    int status = disk_find(image, partition, device, sizeof device, e);
    if (status < 0)
        return status;
    snprintf(name, sizeof name, "%d", layers + 1);
    status = mount_at(name, device, "squashfs", MS_RDONLY | MS_NOATIME, NULL, e);
    if (status < 0)
        return status;
    layers++;
    /* overlay wants the topmost layer first */
    snprintf(rest, sizeof rest, "%s", below);
    int used = snprintf(below, size, "%s/%d%s%s", agent.state, layers, *rest ? ":" : "", rest);
    if (used < 0 || (size_t)used >= size)
        return err_set(e, E2BIG, "the image has too many layers (%d)", layers);
    return 0;
}

static int mount_layers(const char *image, const json_t *partitions, char *below, size_t size, struct err *e) {
    const json_t *item;
    size_t index;
    if (json_array_size(partitions) == 0 || json_array_size(partitions) > LAYERS_MAX)
        return err_set(e, EINVAL, "an image of %zu layers cannot be mounted", json_array_size(partitions));
    json_array_foreach(partitions, index, item) {
        json_int_t partition = json_integer_value(item);
        if (partition < 0 || partition > LAYERS_MAX)
            return err_set(e, EINVAL, "there is no partition %lld", (long long)partition);
        int status = mount_layer(image, (int)partition, below, size, e);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Make u/upper, with the metadata of the topmost lower's root, and u/work, unless an earlier boot did. */
static int make_upper(struct err *e) {
    char path[PATH_MAX], top[PATH_MAX];
    state_path(path, sizeof path, "u/work");
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_set(e, errno, "failed to make %s", path);
    state_path(path, sizeof path, "u/upper");
    if (mkdir(path, 0755) < 0)
        return errno == EEXIST ? 0 : err_set(e, errno, "failed to make %s", path);
    snprintf(top, sizeof top, "%.*s", (int)strcspn(lower, ":"), lower);
    return rootdir_copy(top, path, e);
}

static int mount_upper(const char *serial, struct err *e) {
    char device[128];
    int status = 0;
    if (!serial) {
        status = mount_at("u", "tmpfs", "tmpfs", 0, "mode=0755", e);
    } else {
        status = disk_find(serial, 0, device, sizeof device, e);
        if (status == 0)
            status = mount_at("u", device, "ext4", MS_NOATIME, "discard,noinit_itable", e);
    }
    return status < 0 ? status : make_upper(e);
}

/* Every change is then in the upper as it looks, which `diff` and `commit` read. */
static const char plain[] = "redirect_dir=off,metacopy=off,index=off";

static int mount_overlay(struct err *e) {
    char *options = NULL;
    if (asprintf(&options, "lowerdir=%s,upperdir=%s/u/upper,workdir=%s/u/work,%s", lower, agent.state, agent.state,
                 plain) < 0)
        return err_set(e, ENOMEM, "failed to mount the root file system");
    int status = mount_at("r", "overlay", "overlay", 0, options, e);
    free(options);
    if (status < 0)
        return status;
    root_fd = rootfs_open(e);
    return root_fd < 0 ? root_fd : 0;
}

int rootfs_lower(struct err *e) {
    char path[PATH_MAX], options[PATH_MAX + 16];
    if (rootfs_fd(e) < 0)
        return -ENOENT;
    snprintf(path, sizeof path, "%s", lower);
    if (strchr(lower, ':')) {
        snprintf(options, sizeof options, "lowerdir=%s", lower);
        int status = lower_mounted ? 0 : mount_at("l", "overlay", "overlay", MS_RDONLY, options, e);
        if (status < 0)
            return status;
        lower_mounted = true;
        state_path(path, sizeof path, "l");
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set(e, errno, "failed to open %s", path) : fd;
}

int rootfs_snapshot(struct err *e) {
    char path[PATH_MAX], options[PATH_MAX + 32];
    if (rootfs_fd(e) < 0)
        return -ENOENT;
    int length = snprintf(options, sizeof options, "lowerdir=%s/u/upper:%s", agent.state, lower);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_set(e, errno, "failed to make a mount namespace");
    int status = length < 0 || (size_t)length >= sizeof options
                     ? err_set(e, E2BIG, "the image has too many layers (%d)", layers)
                     : mount_at("s", "overlay", "overlay", MS_RDONLY, options, e);
    if (status < 0)
        return status;
    state_path(path, sizeof path, "s");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set(e, errno, "failed to open %s", path) : fd;
}

static void unmount_part(const char *name) {
    char path[PATH_MAX];
    state_path(path, sizeof path, name);
    unmount(path);
}

void rootfs_unmount(void) {
    char name[16], upper[PATH_MAX];
    upper_thaw();
    if (root_fd >= 0)
        close(root_fd);
    root_fd = -1;
    unmount_part("r");
    state_path(upper, sizeof upper, "u");
    unmount_written(upper);
    if (lower_mounted)
        unmount_part("l");
    lower_mounted = false;
    for (; layers > 0; layers--) {
        snprintf(name, sizeof name, "%d", layers);
        unmount_part(name);
    }
}

int op_rootfs(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    const char *image = args_string(args, "image", "image"), *upper = args_string(args, "upper", NULL);
    const char *directory = args_string(args, "directory", NULL);
    const json_t *partitions = args_array(args, "partitions");
    (void)number, (void)result;
    if (root_fd >= 0)
        return err_code(e, "invalidState", EALREADY, "the root file system is mounted already");
    int status = 0;
    lower[0] = 0;
    if (directory)
        snprintf(lower, sizeof lower, "%s", directory);
    else
        status = mount_layers(image, partitions, lower, sizeof lower, e);
    if (status == 0)
        status = mount_upper(upper, e);
    if (status == 0)
        status = mount_overlay(e);
    if (status < 0)
        rootfs_unmount();
    return status;
}

/* ---- files ---- */

static int write_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t wrote = write(fd, bytes, length);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        if (wrote > 0) {
            bytes += wrote;
            length -= (size_t)wrote;
        }
    }
    return 0;
}

static int make_file(int root, const char *path, mode_t mode) {
    int flags = O_WRONLY | O_CREAT | O_TRUNC;
    int fd = root_open(root, path, flags, mode);
    const char *slash = strrchr(path, '/');
    if (fd != -ENOENT || !slash)
        return fd;
    char *parent = strndup(path, (size_t)(slash - path) + 1);
    int above = parent ? root_mkdirs(root, parent) : -ENOMEM;
    free(parent);
    if (above < 0)
        return above;
    fd = root_open(root, path, flags, mode);
    if (fd == -ENOENT) { /* a link that leads to nothing, as /etc/resolv.conf of many images */
        unlinkat(above, slash + 1, 0);
        fd = root_open(root, path, flags, mode);
    }
    close(above);
    return fd;
}

int op_files(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    const json_t *item;
    size_t index;
    int root = rootfs_fd(e);
    (void)number, (void)result;
    if (root < 0)
        return root;
    json_array_foreach(args_array(args, "files"), index, item) {
        const char *path = NULL, *content = NULL;
        size_t length = 0;
        int mode = 0644;
        int status =
            args_unpack(item, e, "{s:s, s:s%, s?i}", "path", &path, "content", &content, &length, "mode", &mode);
        if (status < 0)
            return status;
        int fd = make_file(root, path, (mode_t)mode & 07777);
        if (fd >= 0) {
            status = fchmod(fd, (mode_t)mode & 07777) < 0 ? -errno : write_all(fd, content, length);
            close(fd);
        } else {
            status = fd;
        }
        if (status < 0)
            return err_set(e, -status, "failed to write %s", path);
    }
    return 0;
}
