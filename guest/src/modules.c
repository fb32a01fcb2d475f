#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"

enum { MODULES_MAX = 128, PATH_SIZE = 128, LATE_MS = 500, NICEST = 19 };

enum group { CHANNEL, GENERAL, NETWORK, SHARING, LATE, WANTED };

static struct {
    char path[PATH_SIZE];
    enum group group;
} list[MODULES_MAX];
static int count;
static pid_t loader; /* of the network's modules */

static const struct {
    const char *name;
    enum group group;
} groups[] = {
    {"failover", NETWORK}, {"net_failover", NETWORK}, {"virtio_net", NETWORK},
    {"ipv6", NETWORK},     {"af_packet", NETWORK},    {"fuse", SHARING},
    {"virtiofs", SHARING}, {"virtio_balloon", LATE},  {"tun", WANTED},
};

/* Drivers of the container's: the aliases under which the kernel asks for them, and their device nodes. */
static const struct {
    const char *alias, *device, *module;
} wanted[] = {
    {"char-major-10-200", "/dev/net/tun", "tun"},
    {"rtnl-link-tun", NULL, "tun"},
    {"char-major-10-229", "/dev/fuse", "fuse"},
    {"fs-fuse", NULL, "fuse"},
};

/* `/modules/virtio_net.ko` is called virtio_net. */
static bool is_called(const char *path, const char *name) {
    const char *base = strrchr(path, '/');
    size_t length = strlen(name);
    base = base ? base + 1 : path;
    return strncmp(base, name, length) == 0 && base[length] == '.';
}

static void load(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT) /* loaded and removed before */
            log_line("module %s: %s", path, strerror(errno));
        return;
    }
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
        log_line("module %s: %s", path, strerror(errno));
    close(fd);
    unlink(path); /* the initramfs is memory */
}

static void load_group(enum group group) {
    for (int i = 0; i < count; i++)
        if (list[i].group == group)
            load(list[i].path);
}

static void read_list(void) {
    FILE *file = fopen("/modules.list", "re");
    while (file && count < MODULES_MAX && fgets(list[count].path, PATH_SIZE, file)) {
        char *path = list[count].path;
        path[strcspn(path, "\n")] = 0;
        if (!*path)
            continue;
        list[count].group = GENERAL;
        for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
            if (is_called(path, groups[i].name))
                list[count].group = groups[i].group;
        if (is_called(path, "virtio_console"))
            for (int i = 0; i <= count; i++) /* all before it, too: it depends on some of them */
                list[i].group = CHANNEL;
        count++;
    }
    if (file)
        fclose(file);
}

void modules_for_channel(void) {
    read_list();
    load_group(CHANNEL);
}

void modules_rest(void) {
    bool alone = sysconf(_SC_NPROCESSORS_ONLN) < 2; /* then a process of its own wins nothing, and costs a fork */
    loader = alone ? -1 : fork();
    if (loader <= 0)
        load_group(NETWORK);
    if (loader == 0)
        _exit(0);
    load_group(GENERAL);
}

void modules_settle(void) {
    if (loader > 0)
        waitpid(loader, NULL, 0); /* ECHILD: reaped as any orphan */
    loader = 0;
}

static void load_late(struct timer *timer) {
    (void)timer;
    if (fork() != 0)
        return; /* reaped as any orphan */
    if (nice(NICEST) >= 0)
        load_group(LATE);
    _exit(0);
}

void modules_late(void) {
    static struct timer timer = {.fire = load_late};
    loop_timer(&timer, LATE_MS);
}

void modules_for_sharing(void) {
    load_group(SHARING);
}

static void load_called(const char *name) {
    for (int i = 0; i < count; i++)
        if (is_called(list[i].path, name))
            load(list[i].path);
}

bool modules_for_device(const char *path) {
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (wanted[i].device && strcmp(wanted[i].device, path) == 0) {
            load_called(wanted[i].module);
            return true;
        }
    return false;
}

int modules_probe(const char *alias) {
    read_list();
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (strcmp(wanted[i].alias, alias) == 0) {
            load_called(wanted[i].module);
            return EXIT_SUCCESS;
        }
    return EXIT_FAILURE;
}

void modules_on_demand(void) {
    static const char program[] = MODULES_PROGRAM;
    int fd =
        symlink("/init", program) < 0 && errno != EEXIST ? -1 : open("/proc/sys/kernel/modprobe", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, program, strlen(program)) < 0)
        log_line("drivers are not loaded on demand: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
}
