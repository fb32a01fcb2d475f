#include "rootdir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { XATTRS_MAX = 65536 }; /* linux/limits.h: XATTR_LIST_MAX, XATTR_SIZE_MAX */

static const char OVERLAY[] = "trusted.overlay.";

static int copy_xattrs(const char *from, const char *to, struct err *e) {
    static char names[XATTRS_MAX], value[XATTRS_MAX];
    ssize_t length = listxattr(from, names, sizeof names);
    if (length < 0)
        return errno == ENOTSUP ? 0 : err_set(e, errno, "failed to list the attributes of %s", from);
    for (const char *name = names; name < names + length; name += strlen(name) + 1) {
        if (strncmp(name, OVERLAY, sizeof OVERLAY - 1) == 0)
            continue;
        ssize_t size = getxattr(from, name, value, sizeof value);
        if (size < 0 || setxattr(to, name, value, (size_t)size, 0) < 0)
            return err_set(e, errno, "failed to give %s the attribute %s", to, name);
    }
    return 0;
}

int rootdir_copy(const char *from, const char *to, struct err *e) {
    struct stat st;
    if (stat(from, &st) < 0)
        return err_set(e, errno, "failed to look at %s", from);
    if (chown(to, st.st_uid, st.st_gid) < 0 || chmod(to, st.st_mode & 07777) < 0)
        return err_set(e, errno, "failed to give %s its owner and mode", to);
    int status = copy_xattrs(from, to, e);
    if (status < 0)
        return status;
    const struct timespec times[2] = {st.st_mtim, st.st_mtim};
    if (utimensat(AT_FDCWD, to, times, 0) < 0)
        return err_set(e, errno, "failed to give %s its time", to);
    return 0;
}
