"""Sparse ext4 images: made by mke2fs(8) and debugfs(8) from e2fsprogs, and what their superblock tells (ext4(5))."""

import contextlib
import os
import shutil
import struct
import subprocess

from container.errors import ContainerError, ErrorCode, internal

BLOCK = 4096
MAXIMUM = 16 << 40  # bytes: numbers of blocks have 32 bits
JOURNAL = 64 << 20  # bytes, where the disk is large enough: it is space that a busy container really uses
JOURNAL_MODES = {"journal": 0x20, "ordered": 0x40, "writeback": 0x60}  # EXT4_DEFM_JMODE_*, fs/ext4/ext4.h
_MOUNT_DEFAULTS = 0x0C  # EXT4_DEFM_XATTR_USER | EXT4_DEFM_ACL, what mke2fs.conf(5) has
_TIMEOUT = 60.0  # seconds

# The image is a new file, so it is zero already: nothing is written for inode tables and journal, neither now nor by
# the guest's kernel. Few copies of the superblock keep the image small.
_OPTIONS = (
    *("-t", "ext4", "-b", str(BLOCK), "-m", "0"),
    *("-E", "lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1,root_owner=0:0"),
)
_FEATURES = "^resize_inode,sparse_super2"

_SUPERBLOCK, _MOUNT_TIME, _MAGIC, _INCOMPATIBLE = 1024, 0x2C, 0x38, 0x60  # offsets in the image, in the superblock
_EXT4_MAGIC = 0xEF53
_NEEDS_RECOVERY = 0x4  # EXT4_FEATURE_INCOMPAT_RECOVER


def make(
    path: str, size: int, *, journal: bool = True, journal_mode: str | None = None, journal_size: int | None = None
) -> None:
    """Make a sparse image of `size` bytes, cut to whole blocks, without `lost+found`. Blocks.

    Without a journal it does not survive a crash, and is quicker.
    Raises ContainerError: unsupported without e2fsprogs, else internal with what mke2fs said; nothing is left then.
    """
    room = journal_size or (JOURNAL if size >= 16 * JOURNAL else None)
    more = ["-O", _FEATURES if journal else f"{_FEATURES},^has_journal"]
    if room and journal:
        more += ["-J", f"size={-(-room // (1 << 20))}"]
    commands = ["rmdir lost+found"]
    if journal_mode is not None:
        commands.append(f"set_super_value default_mount_opts {JOURNAL_MODES[journal_mode] | _MOUNT_DEFAULTS:#x}")
    try:
        _run(path, "mke2fs", "-q", "-F", *_OPTIONS, *more, path, f"{size // 1024}k")
        _run(path, "debugfs", "-w", "-f", "-", path, stdin="".join(f"{line}\n" for line in commands))
    except ContainerError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def needs_writing(path: str) -> bool:
    """Whether a first mount, or one after a crash, has to write: it was never mounted, or its journal is not empty.

    False as well for what is no ext4. Raises OSError.
    """
    with open(path, "rb") as file:
        file.seek(_SUPERBLOCK)
        block = file.read(1024)
    if len(block) < 1024 or struct.unpack_from("<H", block, _MAGIC)[0] != _EXT4_MAGIC:
        return False
    (mounted,) = struct.unpack_from("<I", block, _MOUNT_TIME)
    (features,) = struct.unpack_from("<I", block, _INCOMPATIBLE)
    return mounted == 0 or bool(features & _NEEDS_RECOVERY)


def _run(path: str, name: str, *arguments: str, stdin: str = "") -> None:
    program = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if program is None:
        raise ContainerError(ErrorCode.UNSUPPORTED, f"{name} is not installed: install the package e2fsprogs")
    try:
        done = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise internal(f"cannot make the file system {path}: {error}") from error
    if done.returncode != 0:
        raise internal(f"cannot make the file system {path}: {name}: {done.stderr.strip() or done.returncode}")
