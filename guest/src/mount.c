#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "args.h"
#include "device.h"
#include "root.h"
#include "socket.h"
#include "volume.h"

#define SAFE (MS_NOSUID | MS_NOEXEC | MS_NODEV)

static const struct {
    const char *path, *type, *data;
    unsigned long flags;
    bool optional; /* not in every kernel */
} standard[] = {
    {"/proc", "proc", NULL, SAFE, false},
    /* writable, /sys could take the agent's own channel away (driver unbind) */
    {"/sys", "sysfs", NULL, SAFE | MS_RDONLY, false},
    {"/sys/fs/cgroup", "cgroup2", NULL, SAFE | MS_RELATIME, true},
    /* not devtmpfs: that is one for the whole guest, and the agent finds its disks there */
    {"/dev", "tmpfs", "mode=755,size=65536k", MS_NOSUID | MS_STRICTATIME, false},
    {"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5", MS_NOSUID | MS_NOEXEC, false},
    {"/dev/mqueue", "mqueue", NULL, SAFE, true},
};

/* ---- standard mounts ---- */

static int mount_on(int root, const char *path, const char *source, const char *type, unsigned long flags,
                    const char *data, struct err *e) {
    int target = root_target(root, path, true);
    int status = target < 0 ? target : root_mount(target, source, type, flags, data);
    if (target >= 0)
        close(target);
    return status < 0 ? err_set(e, -status, "failed to mount %s (%s) on %s in the container", source, type, path) : 0;
}

static int mount_shm(int root, const json_t *container, struct err *e) {
    char data[64];
    long long size = args_integer(container, "shmSize", 64LL << 20);
    snprintf(data, sizeof data, "mode=1777,size=%lld", size);
    return mount_on(root, "/dev/shm", "shm", "tmpfs", SAFE, data, e);
}

static int mount_standard(int root, const json_t *container, struct err *e) {
    for (size_t i = 0; i < sizeof standard / sizeof standard[0]; i++) {
        int status = mount_on(root, standard[i].path, standard[i].type, standard[i].type, standard[i].flags,
                              standard[i].data, e);
        bool missing = status == -ENODEV || status == -ENOENT || status == -EPERM;
        if (status < 0 && !(standard[i].optional && missing))
            return status;
    }
    int status = mount_shm(root, container, e);
    return status < 0 ? status : device_make_all(root, container, e);
}

/* ---- the container's own mounts ---- */

static const struct {
    const char *word;
    unsigned long set, clear;
} words[] = {
    {"ro", MS_RDONLY, 0},         {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},     {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},       {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},     {"exec", 0, MS_NOEXEC},
    {"noatime", MS_NOATIME, 0},   {"nodiratime", MS_NODIRATIME, 0},
    {"relatime", MS_RELATIME, 0}, {"sync", MS_SYNCHRONOUS, 0},
};

/* Options split into flags and what the file system gets as text. */
static unsigned long options_split(const json_t *options, unsigned long flags, char *data, size_t size) {
    const json_t *item;
    size_t index, used = 0;
    data[0] = 0;
    json_array_foreach(options, index, item) {
        const char *word = json_string_value(item);
        bool known = !word;
        for (size_t i = 0; !known && i < sizeof words / sizeof words[0]; i++)
            if (strcmp(words[i].word, word) == 0) {
                flags = (flags | words[i].set) & ~words[i].clear;
                known = true;
            }
        if (!known && used < size)
            used += (size_t)snprintf(data + used, size - used, "%s%s", used ? "," : "", word);
    }
    return flags;
}

/* A listener's socket, found under its own name (socket.c). */
static int mount_socket(int root, const char *listener, const char *destination, struct err *e) {
    char path[256];
    int status = socket_path(listener, path, sizeof path, e);
    if (status < 0)
        return status;
    int target = root_target(root, destination, false);
    status = target < 0 ? target : root_mount(target, path, NULL, MS_BIND, NULL);
    if (target >= 0)
        close(target);
    return status < 0 ? err_set(e, -status, "failed to put a socket at %s in the container", destination) : 0;
}

static int mount_own(int root, const json_t *mount, struct err *e) {
    const char *source, *destination, *kind;
    char data[1024];
    const json_t *type = NULL, *options = args_array(mount, "options");
    int status =
        args_unpack(mount, e, "{s:s, s:s, s:o}", "source", &source, "destination", &destination, "type", &type);
    if (status < 0)
        return status;
    kind = json_object_iter_key(json_object_iter((json_t *)type));
    if (!kind || destination[0] != '/')
        return err_set(e, EINVAL, "cannot mount on \"%s\"", destination);
    if (strcmp(kind, "tmpfs") == 0)
        return mount_on(root, destination, "tmpfs", "tmpfs",
                        options_split(options, MS_NOSUID | MS_NODEV, data, sizeof data), data, e);
    if (strcmp(kind, "socket") == 0)
        return mount_socket(root, source, destination, e);
    if (strcmp(kind, "bind") != 0)
        return err_code(e, "unsupported", EOPNOTSUPP, "mounts of kind %s are not supported", kind);
    bool read_only = options_split(options, 0, data, sizeof data) & MS_RDONLY;
    return volume_bind(root, source, json_object_get(type, kind), read_only ? MOUNT_ATTR_RDONLY : 0, destination, e);
}

static int pivot(int root, struct err *e) {
    if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return err_set(e, errno, "failed to make the container's root file system /");
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) /* now `.` is the old root, stacked on the new one */
        return err_set(e, errno, "failed to let go of the guest's root file system");
    return 0;
}

int mount_container(int root, const json_t *container, struct err *e) {
    const json_t *item;
    size_t index;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_set(e, errno, "failed to make mounts private");
    int status = mount_standard(root, container, e);
    json_array_foreach(args_array(container, "mounts"), index, item) {
        if (status == 0)
            status = mount_own(root, item, e);
    }
    return status < 0 ? status : pivot(root, e);
}

/* ---- restrictions ---- */

static const char *const masked[] = {
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
};

static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static int mask(const char *path, struct err *e) {
    struct stat found;
    if (stat(path, &found) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_set(e, errno, "failed to mask %s", path);
    int status = S_ISDIR(found.st_mode) ? mount("tmpfs", path, "tmpfs", MS_RDONLY | SAFE, "size=0k,nr_inodes=2")
                                        : mount("/dev/null", path, NULL, MS_BIND, NULL);
    return status < 0 ? err_set(e, errno, "failed to mask %s", path) : 0;
}

/* A bind remount must repeat the flags that the mount has already. */
static unsigned long mount_flags(const char *path) {
    struct statvfs found;
    if (statvfs(path, &found) < 0)
        return 0;
    return (found.f_flag & ST_NOSUID ? MS_NOSUID : 0) | (found.f_flag & ST_NODEV ? MS_NODEV : 0) |
           (found.f_flag & ST_NOEXEC ? MS_NOEXEC : 0) | (found.f_flag & ST_NOATIME ? MS_NOATIME : 0);
}

static int restrict_path(const char *path, struct err *e) {
    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_set(e, errno, "failed to bind %s", path);
    if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | mount_flags(path), NULL) < 0)
        return err_set(e, errno, "failed to make %s read-only", path);
    return 0;
}

static int each_path(const json_t *list, const char *const *defaults, size_t count,
                     int (*apply)(const char *, struct err *), struct err *e) {
    const json_t *item;
    size_t index;
    int status = 0;
    if (!json_is_array(list)) {
        for (size_t i = 0; i < count && status == 0; i++)
            status = apply(defaults[i], e);
        return status;
    }
    json_array_foreach(list, index, item) {
        const char *path = json_string_value(item);
        if (status == 0 && path)
            status = apply(path, e);
    }
    return status;
}

int mount_restrict(const json_t *container, struct err *e) {
    int status = each_path(json_object_get(container, "readonlyPaths"), readonly, sizeof readonly / sizeof readonly[0],
                           restrict_path, e);
    if (status == 0)
        status =
            each_path(json_object_get(container, "maskedPaths"), masked, sizeof masked / sizeof masked[0], mask, e);
    if (status == 0 && args_true(container, "readOnly") &&
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
        status = err_set(e, errno, "failed to make the root file system read-only");
    return status;
}
