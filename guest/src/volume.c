#include "volume.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "disk.h"
#include "dispatch.h"
#include "log.h"
#include "modules.h"
#include "root.h"
#include "rootfs.h"
#include "tree.h"
#include "unmount.h"

enum { VOLUMES_MAX = 128, NAME_SIZE = 32 };

static char names[VOLUMES_MAX][NAME_SIZE]; /* of those that are mounted */
static int count;

static bool is_name(const char *name) {
    return *name && strlen(name) < NAME_SIZE && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") == strlen(name);
}

static void volume_path(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/v/%s", agent.state, name);
}

/* ---- mounted by the agent ---- */

static int mount_block(const json_t *volume, const char *path, bool read_only, struct err *e) {
    const char *serial = args_string(volume, "source", ""), *format = args_string(volume, "format", "ext4");
    char device[128];
    int status = disk_find(serial, 0, device, sizeof device, e);
    if (status < 0)
        return status;
    const char *data = strcmp(format, "ext4") == 0 && !read_only ? "discard,noinit_itable" : NULL;
    if (mount(device, path, format, read_only ? MS_RDONLY : 0, data) < 0)
        return err_set(e, errno, "failed to mount the volume's disk (%s)", format);
    return 0;
}

static int mount_share(const json_t *volume, const char *path, bool read_only, struct err *e) {
    modules_for_sharing();
    /* writable for the agent, so that it can replay changes: the host's side and the container's mount are not */
    bool writable = !read_only || args_true(volume, "watched");
    if (mount(args_string(volume, "source", ""), path, "virtiofs", writable ? 0 : MS_RDONLY, NULL) < 0)
        return err_set(e, errno, "failed to mount a directory of the host (virtiofs)");
    return 0;
}

static int mount_volume(const json_t *volume, struct err *e) {
    const char *name = args_string(volume, "name", ""), *type = args_string(volume, "type", "");
    bool read_only = args_true(volume, "readOnly");
    char path[PATH_MAX];
    if (!is_name(name) || count == VOLUMES_MAX)
        return err_code(e, "invalidArgument", EINVAL, "a volume cannot be called \"%.64s\"", name);
    volume_path(path, sizeof path, "");
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set(e, errno, "failed to make %s", path);
    volume_path(path, sizeof path, name);
    if (mkdir(path, 0700) < 0)
        return err_set(e, errno, "failed to make %s", path);
    int status = strcmp(type, "block") == 0 ? mount_block(volume, path, read_only, e)
                 : strcmp(type, "virtiofs") == 0
                     ? mount_share(volume, path, read_only, e)
                     : err_code(e, "unsupported", EOPNOTSUPP, "no volumes of type %s", type);
    if (status == 0)
        strcpy(names[count++], name);
    return status;
}

int op_volumes(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    const json_t *item;
    size_t index;
    int status = 0;
    (void)number, (void)result;
    json_array_foreach(args_array(args, "volumes"), index, item) {
        if (status == 0)
            status = mount_volume(item, e);
    }
    return status;
}

void volume_unmount_all(void) {
    char path[PATH_MAX];
    while (count > 0) {
        volume_path(path, sizeof path, names[--count]);
        unmount_written(path);
    }
}

/* ---- bound into the container ---- */

int volume_open(const char *name) {
    char path[PATH_MAX];
    if (!is_name(name))
        return -EINVAL;
    volume_path(path, sizeof path, name);
    int volume = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return volume < 0 ? -errno : volume;
}

static int populate(int root, int volume, const char *destination, struct err *e) {
    int image = root_open(root, destination, O_RDONLY | O_DIRECTORY, 0);
    if (image == -ENOENT || image == -ENOTDIR)
        return 0;
    int directory = image < 0 ? image : openat(volume, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err why = {0};
    int status = directory < 0 ? err_set(&why, image < 0 ? -image : errno, "it cannot be opened")
                               : tree_fill(image, directory, &why);
    if (directory >= 0)
        close(directory);
    if (image >= 0)
        close(image);
    return status < 0 ? err_code(e, NULL, -status, "failed to fill the volume at %s: %s", destination, why.text) : 0;
}

int op_fill(uint32_t number, const json_t *args, json_t **result, struct err *e) {
    const char *name = args_string(args, "name", "");
    int root = rootfs_fd(e);
    (void)number, (void)result;
    int volume = root < 0 ? root : volume_open(name);
    if (volume < 0)
        return root < 0 ? root : err_set(e, -volume, "failed to open the volume %.64s", name);
    int status = populate(root, volume, args_string(args, "destination", ""), e);
    close(volume);
    return status;
}

static int bind_at(int root, int source, bool directory, unsigned attributes, const char *destination) {
    struct mount_attr attr = {.attr_set = attributes};
    int target = root_target(root, destination, directory);
    if (target < 0)
        return target;
    int tree = open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    int status = tree < 0 ? -errno : 0;
    if (status == 0 && attributes && mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
        status = -errno;
    if (status == 0 && move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        status = -errno;
    if (tree >= 0)
        close(tree);
    close(target);
    return status;
}

int volume_bind(int root, const char *name, const json_t *detail, unsigned attributes, const char *destination,
                struct err *e) {
    const char *file = args_string(detail, "path", "");
    struct stat found;
    int volume = volume_open(name);
    if (volume < 0)
        return err_set(e, -volume, "failed to open the volume %.64s", name);
    int source = !*file ? volume : openat(volume, file, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int status = source < 0 || fstat(source, &found) < 0
                     ? err_set(e, errno, "failed to find what is to be mounted at %s", destination)
                     : 0;
    if (status == 0 && args_true(detail, "populate"))
        status = populate(root, source, destination, e);
    if (status == 0) {
        status = bind_at(root, source, S_ISDIR(found.st_mode), attributes, destination);
        if (status < 0)
            err_set(e, -status, "failed to mount on %s in the container", destination);
    }
    if (source >= 0 && source != volume)
        close(source);
    close(volume);
    return status;
}
