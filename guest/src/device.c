#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "args.h"
#include "modules.h"
#include "root.h"

static const struct {
    const char *path;
    unsigned major, minor;
} nodes[] = {
    {"/dev/null", 1, 3}, {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
    {"/dev/tty", 5, 0},  {"/dev/urandom", 1, 9}, {"/dev/random", 1, 8},
};

static const char *const links[][2] = {
    {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
    {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},         {"/proc/kcore", "core"},
};

static int make_node(int root, const char *path, dev_t device, struct err *e) {
    const char *slash = strrchr(path, '/');
    char parent[256];
    struct stat found;
    if (!slash || (size_t)(slash - path) + 1 >= sizeof parent)
        return err_set(e, EINVAL, "failed to make the device %s", path);
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path) + 1, path);
    int directory = root_mkdirs(root, parent);
    int status = directory < 0 ? directory : 0;
    if (status == 0 && mknodat(directory, slash + 1, S_IFCHR | 0666, device) < 0)
        status = -errno;
    if (status == -EEXIST && fstatat(directory, slash + 1, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISCHR(found.st_mode) && found.st_rdev == device)
        status = 0; /* of the last start */
    if (directory >= 0)
        close(directory);
    return status < 0 ? err_set(e, -status, "failed to make the device %s", path) : 0;
}

/* No node but these of the guest's /dev is for containers: its disks and the agent's channel are there, too. */
static bool for_containers(const char *path) {
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++)
        if (strcmp(nodes[i].path, path) == 0)
            return true;
    return modules_for_device(path);
}

static int make_asked(int root, const json_t *device, struct err *e) {
    const char *source, *destination;
    struct stat found;
    int status = args_unpack(device, e, "{s:s, s:s}", "source", &source, "destination", &destination);
    if (status < 0)
        return status;
    if (!for_containers(source))
        return err_code(e, "unsupported", ENODEV, "the virtual machine has no device %s for containers", source);
    if (stat(source, &found) < 0 || !S_ISCHR(found.st_mode))
        return err_code(
            e, "unsupported", ENODEV,
            "the virtual machine's kernel has no driver for %s: install one that has it, as the recommended one",
            source);
    return make_node(root, destination, found.st_rdev, e);
}

int device_make_all(int root, const json_t *container, struct err *e) {
    const json_t *item;
    size_t index;
    int status = 0;
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0] && status == 0; i++)
        status = make_node(root, nodes[i].path, makedev(nodes[i].major, nodes[i].minor), e);
    json_array_foreach(args_array(container, "devices"), index, item) {
        if (status == 0)
            status = make_asked(root, item, e);
    }
    int dev = status < 0 ? -1 : root_open(root, "/dev", O_PATH | O_DIRECTORY, 0);
    for (size_t i = 0; dev >= 0 && i < sizeof links / sizeof links[0]; i++)
        if (symlinkat(links[i][0], dev, links[i][1]) < 0 && status == 0)
            status = err_set(e, errno, "failed to make /dev/%s", links[i][1]);
    if (dev >= 0)
        close(dev);
    return status;
}
