"""Copies of sparse files that share or skip what they can: ioctl_ficlone(2), lseek(2) SEEK_DATA, copy_file_range(2)."""

import errno
import fcntl
import os

FICLONE = 0x40049409  # _IOW(0x94, 9, int), <linux/fs.h>

# Answers of file systems that cannot clone, or not these two files.
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM)


def copy_sparse(source: int, target: int) -> None:
    """Make the empty file `target` equal to `source`, holes included. Raises OSError."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno not in _CANNOT_CLONE:
            raise
    else:
        return
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    offset = 0
    while offset < size:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no data after offset
                raise
            return
        offset = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, offset)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        try:
            copied = os.copy_file_range(source, target, end - start, start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            copied = os.pwrite(target, os.pread(source, min(end - start, 1 << 20), start), start)
        if not copied:
            return  # the source was cut meanwhile
        start += copied
