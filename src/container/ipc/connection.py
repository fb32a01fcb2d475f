"""One end of a varlink connection: whole messages in, whole messages out, with descriptors.

asyncvarlink's own transport is not used: it stops reading while a call runs, so that a caller's hang-up goes unseen; it
drops the descriptors of a message that is longer than its buffer; and it has no limit.
"""

import asyncio
import socket
from collections import deque

from container.errors import ContainerError, invalid_argument
from container.ipc.framing import MESSAGE_MAX, Framer, Message
from container.linux import fd as linux_fd

PENDING_MAX = 64
_READ_SIZE = 256 * 1024


class Connection:
    """Owns a connected socket, watched by the running loop until `close`.

    It has ended (`ended`) when the peer closed it or shut down its sending side, or broke a limit (see `failure`).
    With more than `PENDING_MAX` messages, or 16 MiB of them, unread, a connection that is `patient` stops reading, and
    another one ends: it reads on during a call to see the hang-up.
    """

    def __init__(self, sock: socket.socket, *, patient: bool) -> None:
        self.failure: ContainerError | None = None
        self.ended = asyncio.Event()
        self._patient = patient
        self._framer = Framer()
        self._messages: deque[Message] = deque()
        self._pending_bytes = 0
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None
        self._sock = sock
        sock.setblocking(False)
        self._loop.add_reader(sock, self._read)
        self._reading = True

    def _read(self) -> None:
        try:
            data, fds = linux_fd.receive(self._sock, _READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, fds = b"", []
        try:
            if not data:
                self.end()
            for message in self._framer.feed(data, fds):
                self._messages.append(message)
                self._pending_bytes += len(message.data)
            if self._is_full():
                if not self._patient:
                    raise invalid_argument("cannot take the request: its connection has too many at once")
                self._set_reading(False)
        except ContainerError as error:
            self.failure = error
            self.end()
        self._arrived.set()

    def _is_full(self) -> bool:
        return len(self._messages) > PENDING_MAX or self._pending_bytes > MESSAGE_MAX

    def _set_reading(self, on: bool) -> None:
        if on != self._reading:
            self._reading = on
            if on:
                self._loop.add_reader(self._sock, self._read)
            else:
                self._loop.remove_reader(self._sock)

    def end(self) -> None:
        """Take the connection as ended: what has arrived can be received still."""
        self._set_reading(False)
        self.ended.set()
        self._arrived.set()

    async def receive(self) -> Message | None:
        """The next message, None at the end of the connection; the caller owns its descriptors."""
        while not self._messages and not self.ended.is_set():
            self._arrived.clear()
            await self._arrived.wait()
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._pending_bytes -= len(message.data)
        if not self.ended.is_set() and not self._is_full():
            self._set_reading(True)
        return message

    async def send(self, data: bytes, fds: list[int]) -> None:
        """Send a message, one at a time; returns when the kernel has it. Descriptors stay the caller's.

        Raises OSError.
        """
        rest = memoryview(data)
        while True:
            try:
                rest = rest[linux_fd.send(self._sock, rest, fds) :]
                fds = []
            except (BlockingIOError, InterruptedError):
                pass
            if not rest:
                return
            await self._wait_writable()

    async def _wait_writable(self) -> None:
        self._writable = self._loop.create_future()
        self._loop.add_writer(self._sock, self._wake, self._writable)
        try:
            await self._writable
        finally:
            self._writable = None
            if self._sock.fileno() >= 0:
                self._loop.remove_writer(self._sock)

    @staticmethod
    def _wake(waiter: "asyncio.Future[None]") -> None:
        if not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """Hang up, and close the descriptors of what was not received."""
        self.end()
        if self._sock.fileno() >= 0:
            self._loop.remove_writer(self._sock)
            self._sock.close()
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(BrokenPipeError())
        self._framer.close()
        for message in self._messages:
            message.close()
        self._messages.clear()
