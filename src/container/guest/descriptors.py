"""Foreign descriptors in an event loop: read and written without blocking and without a trace on their open file.

O_NONBLOCK belongs to the open file, which others share (the user's shell has the same terminal). So a pipe or terminal
is opened anew through /proc/self/fd, a socket is used with MSG_DONTWAIT, and a regular file never blocks for long.
What cannot be opened anew is polled, and then read or written in pieces that a poll promises.
"""

import asyncio
import errno
import os
import select
import socket
import stat
from collections import deque
from types import TracebackType

_SURE = 512  # bytes that a descriptor takes after it polled writable
_AGAIN = (BlockingIOError, InterruptedError)


def _reopen(fd: int, access: int) -> int | None:
    """A new open file of the same pipe or terminal, not blocking; None when there cannot be one."""
    path = f"/proc/self/fd/{fd}"
    try:
        if os.readlink(path).endswith("ptmx"):  # opening it again makes another terminal
            return None
        return os.open(path, access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


class _Descriptor:
    """A descriptor of the caller, and what is used in its place. Leaving its context closes only what is ours."""

    def __init__(self, fd: int, access: int) -> None:
        mode = os.fstat(fd).st_mode
        self._given = fd
        self._fd = fd
        self._own: int | None = None
        self._socket: socket.socket | None = None
        self._sure = True  # reading or writing does not block
        self._loop = asyncio.get_running_loop()
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif stat.S_ISFIFO(mode) or os.isatty(fd):
            self._own = _reopen(fd, access)
            self._sure = self._own is not None
        if self._own is not None:
            self._fd = self._own
        self.terminal = os.isatty(fd)

    def close(self) -> None:
        """Let go of it."""
        if self._own is not None:
            os.close(self._own)
            self._own = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Source(_Descriptor):
    """A descriptor to read from."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, os.O_RDONLY)

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def read(self, count: int) -> bytes:
        """Up to `count` bytes; b"" at the end, also when a terminal hung up or a socket was reset."""
        ready = self._sure
        while True:
            if ready:
                try:
                    return self._read(count)
                except _AGAIN:
                    pass
                except OSError:
                    return b""
            await self._readable()
            ready = True

    def _read(self, count: int) -> bytes:
        if self._socket is not None:
            return self._socket.recv(count, socket.MSG_DONTWAIT)
        return os.read(self._fd, count)

    async def _readable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        try:
            self._loop.add_reader(self._fd, _wake, ready)
        except PermissionError:  # always ready, says epoll: a regular file
            return
        try:
            await ready
        finally:
            self._loop.remove_reader(self._fd)

    @property
    def hung_up(self) -> bool:
        """Whether it was a terminal and is none any more: its window was closed."""
        return self.terminal and not os.isatty(self._given)


class Sink(_Descriptor):
    """A descriptor to write to: `write` never waits, what did not go at once goes when it can.

    One that is `held` keeps all of it until `resume`.
    """

    def __init__(self, fd: int, *, held: bool = False) -> None:
        super().__init__(fd, os.O_WRONLY)
        self._held = held
        self._lost = asyncio.Event()
        self._hangup: select.epoll | None = None  # becomes readable when the reader has gone
        if stat.S_ISFIFO(os.fstat(fd).st_mode) or self._socket is not None:
            self._hangup = select.epoll()
            self._hangup.register(self._fd, 0)
            self._loop.add_reader(self._hangup.fileno(), self._unread)
        self.waiting = 0  # bytes not yet written
        self.failure: OSError | None = None  # why it takes no more
        self._queue: deque[memoryview] = deque()
        self._open = True
        self._released = False
        self._armed = False
        self._progress = asyncio.Event()

    def __enter__(self) -> "Sink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write nothing more and let go of it."""
        self.drop()
        self._let_go_of_hangup()
        super().close()

    def _let_go_of_hangup(self) -> None:
        if self._hangup is not None:
            self._loop.remove_reader(self._hangup.fileno())
            self._hangup.close()
            self._hangup = None

    def _unread(self) -> None:
        self._let_go_of_hangup()
        self._fail(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def _fail(self, error: OSError) -> None:
        if self._open:
            self.failure = error
            self.drop()
            if self.broken:
                self._lost.set()

    def write(self, data: bytes) -> None:
        """Write or queue; nothing after `drop` or once its reader is gone."""
        if not self._open:
            return
        self._queue.append(memoryview(data))
        self.waiting += len(data)
        if not self._armed and not self._held:
            self._flush(self._sure)

    def resume(self) -> None:
        """Write from now on, also what was kept."""
        self._held = False
        if self._open and not self._armed:
            self._flush(self._sure)

    @property
    def dropped(self) -> bool:
        """Whether nothing is written any more: after `drop`, or a failure."""
        return not self._open

    @property
    def broken(self) -> bool:
        """Whether it was a pipe or socket, and its reader has gone."""
        return self.failure is not None and self.failure.errno in (errno.EPIPE, errno.ECONNRESET)

    async def reader_gone(self) -> None:
        """Wait until it is `broken`."""
        await self._lost.wait()

    async def room(self) -> None:
        """Wait until something was written, or `release` or `drop` said not to wait."""
        if not self._released and self._open and self.waiting:
            self._progress.clear()
            await self._progress.wait()

    async def flushed(self) -> None:
        """Wait until all is written or dropped."""
        while self.waiting and self._open:
            self._progress.clear()
            await self._progress.wait()

    def release(self) -> None:
        """`room` waits no more."""
        self._released = True
        self._progress.set()

    def drop(self) -> None:
        """Forget what waits and what comes."""
        self._open = False
        self._queue.clear()
        self.waiting = 0
        if self._armed:
            self._loop.remove_writer(self._fd)
            self._armed = False
        self._progress.set()

    def _flush(self, ready: bool = True) -> None:
        """Write what goes, and be called again when more can. Also the loop's callback."""
        while self._queue and ready:
            data = self._queue[0]
            try:
                count = self._write(data if self._sure else data[:_SURE])
            except _AGAIN:
                break
            except OSError as error:  # its reader is gone, or its disk is full: the process must not suffer
                self._fail(error)
                return
            self.waiting -= count
            if count == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = data[count:]
            ready = self._sure
            self._progress.set()
        self._arm(bool(self._queue))

    def _write(self, data: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self._fd, data)

    def _arm(self, wanted: bool) -> None:
        if wanted == self._armed:
            return
        if wanted:
            self._loop.add_writer(self._fd, self._flush)
        else:
            self._loop.remove_writer(self._fd)
        self._armed = wanted


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
