#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "transfer_child.h"
#include "volume.h"

/* What is gone again, or cannot be told about, is left out. */
static void tell(int volume, char kind, const char *path) {
    struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {PRETEND_SECONDS, PRETEND_NANOSECONDS}};
    struct statx now;
    int fd = (int)syscall(SYS_openat2, volume, path, &how, sizeof how);
    if (fd < 0)
        return;
    /* First, what the guest still has in memory of an old version goes. */
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &now) == 0) {
        if (kind != REPLAY_MODIFIED || !S_ISREG(now.stx_mode))
            times[0] = times[1]; /* the access time as well: IN_ATTRIB, else it is IN_MODIFY */
        utimensat(fd, "", times, AT_EMPTY_PATH);
    }
    close(fd);
}

int job_replay(const struct job *job, struct err *e) {
    static char buffer[65536];
    size_t used = 0;
    ssize_t got;
    int volume = volume_open(job->path);
    if (volume < 0)
        return err_set(e, -volume, "failed to open the volume %.64s", job->path);
    while ((got = read(CHILD_DATA, buffer + used, sizeof buffer - used)) != 0) {
        char *at = buffer, *end;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(e, errno, "failed to read the changes of a share");
        used += (size_t)got;
        for (; (end = memchr(at, 0, used - (size_t)(at - buffer))); at = end + 1)
            if (*at)
                tell(volume, *at, at + 1);
        used -= (size_t)(at - buffer);
        memmove(buffer, at, used);
        if (used == sizeof buffer)
            return err_set(e, EMSGSIZE, "failed to read the changes of a share");
    }
    return 0;
}
