#include "unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "agent.h"
#include "log.h"

void unmount(const char *path) {
    if (umount2(path, UMOUNT_NOFOLLOW) < 0 && errno == EBUSY) {
        log_line("%s is busy: detached", path);
        umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
}

/* The mounts of the container's own namespace hold its file systems, too, and the kernel drops them in its own time, so
 * that an unmount here need not be the last one. A freeze writes all back and empties the journal in any case. It is
 * for good: outside of a machine of ours, other users of the file system would wait for ever. */
void unmount_written(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        int status = agent.pid1 ? ioctl(fd, FIFREEZE, NULL) : syncfs(fd);
        if (status < 0 && errno != EOPNOTSUPP) /* one in memory, or of the host */
            log_line("%s: cannot be written back: %s", path, strerror(errno));
        close(fd);
    }
    unmount(path);
}
