#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "log.h"
#include "modules.h"
#include "proto.h"
#include "uevent.h"

enum { PORT_WAIT_MS = 60000, OPEN_FILES_MAX = 1048576 };

/* The first root file system can never be pivoted away from: stand on a mount of it that can. */
static int leave_rootfs(void) {
    if (mount("/", "/", NULL, MS_BIND, NULL) < 0 || chdir("/..") < 0)
        return -errno;
    return chroot(".") < 0 ? -errno : 0;
}

static const struct {
    const char *path, *type, *data;
    unsigned long flags;
    bool optional;
} mounts[] = {
    {"/dev", "devtmpfs", "mode=0755", MS_NOSUID, false},
    {"/proc", "proc", NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV, false},
    {"/sys", "sysfs", NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV, false},
    /* nsdelegate: a container cannot lift the limits on the root of its own cgroup namespace */
    {"/sys/fs/cgroup", "cgroup2", "nsdelegate", MS_NOSUID | MS_NOEXEC | MS_NODEV, true},
};

static int mount_all(void) {
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
        mkdir(mounts[i].path, 0755);
        if (mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags, mounts[i].data) < 0 &&
            errno != EBUSY && !mounts[i].optional)
            return -errno;
    }
    return 0;
}

static void open_console(void) {
    int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
    log_to(fd);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3 && null >= 0; i++) /* keep 0, 1, 2 taken: no later descriptor may become a standard stream */
        if (null != i)
            dup2(null, i);
    if (null > 2)
        close(null);
}

static bool port_named(const char *port, const char *name) {
    char path[320], text[64];
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", port);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, name) == 0;
}

/* `context` gets the descriptor. */
static bool port_open(void *context) {
    int *port = context;
    struct dirent *entry;
    DIR *ports = opendir("/sys/class/virtio-ports");
    while (ports && *port < 0 && (entry = readdir(ports)))
        if (entry->d_name[0] != '.' && port_named(entry->d_name, PROTO_PORT_NAME)) {
            char path[300];
            snprintf(path, sizeof path, "/dev/%s", entry->d_name);
            *port = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        }
    if (ports)
        closedir(ports);
    return *port >= 0;
}

int boot(void) {
    struct rlimit files = {.rlim_cur = 1024, .rlim_max = OPEN_FILES_MAX};
    int port = -1;
    int status = leave_rootfs();
    if (status == 0)
        status = mount_all();
    open_console();
    if (status < 0) {
        log_line("boot failed: %s", strerror(-status));
        return status;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    modules_for_channel();
    cgroup_prepare();
    status = uevent_until(port_open, &port, PORT_WAIT_MS);
    if (status < 0)
        log_line("no virtio-serial port named %s appeared within %d s", PROTO_PORT_NAME, PORT_WAIT_MS / 1000);
    return status < 0 ? status : port;
}
