"""The writable disk of a container: a sparse ext4 image, cloned from a template that is made once per size."""

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from container.errors import ContainerError, ErrorCode, internal
from container.linux.sparse import copy_sparse
from container.model.container import ContainerConfiguration
from container.store import atomic
from container.store.locks import locked

if TYPE_CHECKING:
    from container.guest.client import GuestClient

DEFAULT_SIZE = 64 << 30  # bytes, nominal: the file is sparse
JOURNAL = 64 << 20  # bytes, where the disk is large enough: it is space that a busy container really uses
NAME = "upper.ext4"
TRIM_ABOVE = 64 << 20  # allocated bytes
MKE2FS_TIMEOUT = 60.0  # seconds

# The image is a new file, so it is zero already: nothing is written for inode tables and journal, neither now nor by
# the guest's kernel. Few copies of the superblock keep the template below 1 MB.
_OPTIONS = (
    *("-t", "ext4", "-b", "4096", "-m", "0"),
    *("-E", "lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1,root_owner=0:0"),
)


def of(configuration: ContainerConfiguration, bundle: str, cache: str) -> str:
    """`ensure` for a container: without a journal when it is removed with its run (`--rm`)."""
    return ensure(bundle, cache, configuration.resources.storage, once=configuration.auto_remove)


def ensure(bundle: str, cache: str, size: int | None = None, *, once: bool = False) -> str:
    """Path of the bundle's upper disk: the one of an earlier start, else a new one of `size` bytes. Blocks.

    `once`: it goes with its only run, so it gets no journal, which is there to survive a crash.
    Templates are kept in `cache`. Raises ContainerError: unsupported without mke2fs, else internalError.
    """
    path = os.path.join(bundle, NAME)
    if os.path.exists(path):
        return path
    template = _template(cache, size or DEFAULT_SIZE, once)
    temporary = atomic.sibling(path)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(_unlink, temporary)
            source = os.open(template, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, source)
            target = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, target)
            copy_sparse(source, target)
            os.rename(temporary, path)  # not synced: until the container has run there is nothing in it to lose
    except OSError as error:
        raise internal(f"cannot make the container's disk {path}: {error.strerror}") from error
    return path


async def trim(guest: "GuestClient", bundle: str, *, timeout: float) -> None:
    """Give back what a machine that was killed left allocated; what files give up goes at once (`discard`).

    Not worth the time for a small disk, and no reason for a stop to fail.
    """
    with contextlib.suppress(ContainerError, OSError):
        if os.stat(os.path.join(bundle, NAME)).st_blocks * 512 >= TRIM_ABOVE:
            await guest.trim(timeout=timeout)


def _template(cache: str, size: int, once: bool) -> str:
    path = os.path.join(cache, f"upper-{size}{'-once' if once else ''}.ext4")
    if os.path.exists(path):
        return path
    try:
        os.makedirs(cache, mode=0o700, exist_ok=True)
    except OSError as error:
        raise internal(f"cannot create {cache}: {error.strerror}") from error
    with locked(path + ".lock"):
        if not os.path.exists(path):
            temporary = atomic.sibling(path)
            try:
                _make_file_system(temporary, size, once)
                os.rename(temporary, path)
            finally:
                _unlink(temporary)
    return path


def _make_file_system(path: str, size: int, once: bool) -> None:
    program = shutil.which("mke2fs", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if program is None:
        raise ContainerError(ErrorCode.UNSUPPORTED, "mke2fs is not installed: install the package e2fsprogs")
    features = "^resize_inode,sparse_super2" + (",^has_journal" if once else "")
    journal = ("-J", f"size={JOURNAL >> 20}") if size >= 16 * JOURNAL and not once else ()
    argv = [program, "-q", "-F", *_OPTIONS, "-O", features, *journal, path, f"{size // 1024}k"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MKE2FS_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise internal(f"cannot make the file system {path}: {error}") from error
    if done.returncode != 0:
        raise internal(f"cannot make the file system {path}: mke2fs: {done.stderr.strip() or done.returncode}")


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
