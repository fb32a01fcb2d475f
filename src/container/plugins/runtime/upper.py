"""The writable disk of a container: a sparse ext4 image, cloned from a template that is made once per size."""

import contextlib
import os
from typing import TYPE_CHECKING

from container.errors import ContainerError, internal, os_reason
from container.linux.sparse import copy_sparse
from container.model.container import ContainerConfiguration
from container.store import atomic, ext4
from container.store.locks import locked

if TYPE_CHECKING:
    from container.guest.client import GuestClient

DEFAULT_SIZE = 64 << 30  # bytes, nominal: the file is sparse
NAME = "upper.ext4"
TRIM_ABOVE = 64 << 20  # allocated bytes


def of(configuration: ContainerConfiguration, bundle: str, cache: str) -> str:
    """`ensure` for a container: without a journal when it is removed with its run (`--rm`)."""
    return ensure(bundle, cache, configuration.resources.storage, once=configuration.auto_remove)


def ensure(bundle: str, cache: str, size: int | None = None, *, once: bool = False) -> str:
    """Path of the bundle's upper disk: the one of an earlier start, else a new one of `size` bytes. Blocks.

    `once`: it goes with its only run, so it gets no journal, which is there to survive a crash.
    Templates are kept in `cache`. Raises ContainerError: unsupported without e2fsprogs, else internalError.
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
        raise internal(f"cannot make the container's disk {path}: {os_reason(error)}") from error
    return path


def exists(bundle: str) -> bool:
    """Whether an earlier start has made the bundle's disk."""
    return os.path.exists(os.path.join(bundle, NAME))


def discard(bundle: str) -> None:
    """Remove the disk and what is on it: the next start makes a new one. Raises ContainerError."""
    path = os.path.join(bundle, NAME)
    try:
        _unlink(path)
    except OSError as error:
        raise internal(f"cannot remove the container's disk {path}: {os_reason(error)}") from error


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
        raise internal(f"cannot create {cache}: {os_reason(error)}") from error
    with locked(path + ".lock"):
        if not os.path.exists(path):
            temporary = atomic.sibling(path)
            try:
                ext4.make(temporary, size, journal=not once)
                os.rename(temporary, path)
            finally:
                _unlink(temporary)
    return path


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
