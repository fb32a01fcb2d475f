"""Locks between processes: flock(2) on a file of its own, which is never removed.

The kernel drops a lock when its process ends, however it ends. Locks are held for short local work only; a coroutine
that must wait for one does so in a thread.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from container.errors import ContainerError, ErrorCode, internal, os_reason


@contextlib.contextmanager
def locked(path: str, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path`, made with mode 0600 when it is not there.

    With `wait=False` raises ContainerError(invalidState) when another process (or another open of this one) holds it.
    Other failures are ContainerError(internal).
    """
    fd = _open(path)
    try:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise ContainerError(ErrorCode.INVALID_STATE, f"{path} is locked by another process") from error
        except OSError as error:
            raise internal(f"cannot lock {path}: {os_reason(error)}") from error
        yield
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise internal(f"cannot open the lock {path}: {os_reason(error)}") from error
