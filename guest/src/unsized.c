#include "unsized.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PART = 65536, MOST = 64 << 20 }; /* a page table of a process, say, has no end to speak of */

/* Up to `size` bytes of a file that may give fewer than it has; the count, or -errno. */
static ssize_t read_part(int fd, uint8_t *part, size_t size) {
    ssize_t got;
    do
        got = read(fd, part, size);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static int write_part(int copy, const uint8_t *part, size_t length) {
    while (length) {
        ssize_t wrote = write(copy, part, length);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        if (wrote > 0) {
            part += wrote;
            length -= (size_t)wrote;
        }
    }
    return 0;
}

static int copy_all(int fd, int copy, uint8_t *part, ssize_t got, uint64_t *size) {
    for (*size = 0; got > 0; got = read_part(fd, part, PART)) {
        *size += (uint64_t)got;
        int status = *size > MOST ? -EFBIG : write_part(copy, part, (size_t)got);
        if (status < 0)
            return status;
    }
    if (got < 0)
        return (int)got;
    return lseek(copy, 0, SEEK_SET) < 0 ? -errno : 0;
}

int unsized_read(int fd, const struct stat *found, int *copy, uint64_t *size) {
    static uint8_t part[PART];
    *copy = -1;
    if (found->st_blocks != 0 || found->st_size > sysconf(_SC_PAGESIZE))
        return 0;
    ssize_t got = read_part(fd, part, sizeof part);
    if (got < 0 || (got == 0 && found->st_size == 0))
        return (int)got;
    *copy = memfd_create("unsized", MFD_CLOEXEC);
    int status = *copy < 0 ? -errno : copy_all(fd, *copy, part, got, size);
    if (status < 0 && *copy >= 0) {
        close(*copy);
        *copy = -1;
    }
    return status;
}
