"""Reading and writing descriptors that a client passed, in a thread that can be told to stop.

The descriptors are shared with the client, so they stay in blocking mode (O_NONBLOCK would show in the client, too);
poll(2) says when a pipe can be used without blocking, and a `Cancellation` wakes it.
"""

import os
import select
import stat
from collections.abc import Callable

from container.errors import ContainerError, ErrorCode, internal, os_reason
from container.oci.compression import CHUNK, Read

_PIPE_BUF = 4096  # a pipe that polls writable takes this much without blocking (pipe(7))


class Cancelled(Exception):
    """Nobody wants the result any more."""


class Cancellation:
    """A flag that threads look at and that wakes those who wait for a descriptor. A context manager."""

    def __init__(self, parent: "Cancellation | None" = None) -> None:
        """With a `parent` it is also set when that is."""
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._set = False
        self._parent = parent

    def __enter__(self) -> "Cancellation":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def set(self) -> None:
        """Ask the threads to stop."""
        self._set = True
        os.eventfd_write(self._fd, 1)

    def check(self) -> None:
        """Raise Cancelled when asked to stop."""
        if self._set:
            raise Cancelled
        if self._parent is not None:
            self._parent.check()

    def wait_for(self, fd: int, event: int) -> None:
        """Block until a descriptor polls `event` or an error; raises Cancelled."""
        poll = select.poll()
        flag: Cancellation | None = self
        while flag is not None:
            poll.register(flag._fd, select.POLLIN)
            flag = flag._parent
        poll.register(fd, event)
        poll.poll()
        self.check()


def reader(fd: int, cancellation: Cancellation) -> Read:
    """Reads from a file, pipe or socket. Raises ContainerError(internal), Cancelled."""

    def read() -> bytes:
        cancellation.wait_for(fd, select.POLLIN)
        try:
            return os.read(fd, CHUNK)
        except OSError as error:
            raise internal(f"cannot read the archive: {os_reason(error)}") from error

    return read


def writer(fd: int, cancellation: Cancellation) -> Callable[[bytes | memoryview], None]:
    """Writes all it is given. Raises ContainerError: interrupted when nobody reads, internalError; Cancelled."""
    step = CHUNK if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_BUF

    def write(data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            cancellation.wait_for(fd, select.POLLOUT)
            try:
                view = view[os.write(fd, view[:step]) :]
            except BrokenPipeError as error:
                raise ContainerError(ErrorCode.INTERRUPTED, "cannot write the archive: its reader is gone") from error
            except OSError as error:
                raise internal(f"cannot write the archive: {os_reason(error)}") from error

    return write
