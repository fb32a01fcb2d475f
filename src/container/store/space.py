"""Space of an ext4 image that its file system does not use, given back to the host: what fstrim(8) does, from outside.

The layout is that of ext4(5), <https://docs.kernel.org/filesystems/ext4/>. What is read was written by a guest: it is
taken for what it says about that guest's own image, and nothing else.
"""

import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from container.linux import hole

_SUPERBLOCK, _MAGIC = 1024, 0xEF53
_CLEAN, _ERRORS = 1, 2  # s_state; after an error the bitmaps may say anything
_RECOVER, _META_BG, _64BIT = 0x4, 0x10, 0x80  # incompatible features
_BIGALLOC = 0x200  # read-only compatible feature
_BLOCK_UNINIT = 0x2  # a group's flag: nothing was ever allocated in it
_FREE = re.compile(rb"\0{4,}")  # in a bitmap: 32 blocks or more
_GROUPS_MAX = 1 << 17  # 16 TiB


class _Layout(NamedTuple):
    blocks: int
    first: int
    block_size: int
    per_group: int
    descriptor: int  # bytes


def trim(path: str) -> int:
    """Give back the space of an image that nothing has mounted; allocated bytes less than before.

    Nothing happens to one that a virtual machine has, that is not clean, or that is no ext4. Blocks. Raises OSError.
    """
    with open(path, "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        layout = _layout(file)
        if layout is None:
            return 0
        before = os.fstat(file.fileno()).st_blocks
        for start, count in _free(file, layout):
            try:
                hole.punch(file.fileno(), start * layout.block_size, count * layout.block_size)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:
                    return 0
                raise
        return max(0, before - os.fstat(file.fileno()).st_blocks) * 512


def _layout(file: BinaryIO) -> _Layout | None:
    """None for an image that is better left alone."""
    superblock = os.pread(file.fileno(), 1024, _SUPERBLOCK)
    if len(superblock) < 1024 or struct.unpack_from("<H", superblock, 0x38)[0] != _MAGIC:
        return None
    state, incompatible, read_only = (
        struct.unpack_from(code, superblock, at)[0] for code, at in (("<H", 0x3A), ("<I", 0x60), ("<I", 0x64))
    )
    if state & (_CLEAN | _ERRORS) != _CLEAN or incompatible & (_RECOVER | _META_BG) or read_only & _BIGALLOC:
        return None
    wide = bool(incompatible & _64BIT)
    low, first, shift, per_group = (struct.unpack_from("<I", superblock, at)[0] for at in (0x4, 0x14, 0x18, 0x20))
    high = struct.unpack_from("<I", superblock, 0x150)[0] if wide else 0
    descriptor = struct.unpack_from("<H", superblock, 0xFE)[0] if wide else 32
    blocks, block_size = high << 32 | low, 1024 << min(shift, 7)
    sound = 0 < per_group <= 8 * block_size and descriptor in (32, 64) and first <= 1
    if not sound or blocks * block_size > os.fstat(file.fileno()).st_size or blocks // per_group > _GROUPS_MAX:
        return None
    return _Layout(blocks, first, block_size, per_group, descriptor)


def _free(file: BinaryIO, layout: _Layout) -> Iterator[tuple[int, int]]:
    """Runs of free blocks: the first one, and how many."""
    groups = -(-(layout.blocks - layout.first) // layout.per_group)
    table = os.pread(file.fileno(), groups * layout.descriptor, (layout.first + 1) * layout.block_size)
    for group in range(len(table) // layout.descriptor):
        at = group * layout.descriptor
        bitmap, flags = struct.unpack_from("<I", table, at)[0], struct.unpack_from("<H", table, at + 0x12)[0]
        if layout.descriptor == 64:
            bitmap |= struct.unpack_from("<I", table, at + 0x20)[0] << 32
        if flags & _BLOCK_UNINIT or not layout.first < bitmap < layout.blocks:
            continue
        base = layout.first + group * layout.per_group
        bits = os.pread(file.fileno(), layout.per_group // 8, bitmap * layout.block_size)
        for run in _FREE.finditer(bits):
            end = min(base + 8 * run.end(), layout.blocks)
            if end > base + 8 * run.start():
                yield base + 8 * run.start(), end - base - 8 * run.start()
