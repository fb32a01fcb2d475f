"""The synchronous client: one call, no event loop, hardly any imports (json is the costliest).

    images = call(roots.socket(paths.IMAGES), "io.container.Images.List", {})["images"]
    for event in stream(socket, "io.container.Images.Load", {"archive": 0, "force": False}, fds=[fd]): …

A descriptor parameter is its index in `fds`, which stay the caller's; descriptors in replies are dropped.
Both raise what the handler raised, ContainerError(interrupted) when the service does not run or goes away,
ContainerError(timeout).
"""

import json
import os
from _socket import AF_UNIX, MSG_NOSIGNAL, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket
from _thread import get_ident
from sys import byteorder
from time import monotonic, sleep

from container.errors import ContainerError, os_reason
from container.ipc import address, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

MESSAGE_MAX = 16 * 1024 * 1024
_READ_SIZE = 256 * 1024
_BACKLOG_FULL_DELAY = 0.02

_wakeup: "tuple[int, int] | None" = None  # descriptor, and the thread that heeds it


def wake_on(fd: int) -> None:
    """Let waits of the calling thread, the main one, end when `fd` (not blocking) gets a byte: signal.set_wakeup_fd.

    Without it a signal that comes just before recv(2) begins has its handler run only when recv returns.
    """
    global _wakeup
    _wakeup = fd, get_ident()


def call(
    socket_path: str,
    method: str,
    parameters: "dict[str, Any] | None" = None,
    fds: "Sequence[int]" = (),
    timeout: float | None = 60.0,
) -> "dict[str, Any]":
    """Call a method by its full varlink name; the reply's parameters. `timeout` in seconds bounds the whole call."""
    with _Exchange(socket_path, method, timeout) as exchange:
        exchange.request({"method": method, "parameters": parameters or {}}, fds)
        return exchange.reply()[1]


def stream(
    socket_path: str,
    method: str,
    parameters: "dict[str, Any] | None" = None,
    fds: "Sequence[int]" = (),
    timeout: float | None = None,
) -> "Iterator[dict[str, Any]]":
    """Call a streaming method; a generator of the replies' parameters. Closing it hangs up.

    The request is sent at the first `next`. `timeout` in seconds bounds all of it.
    """
    with _Exchange(socket_path, method, timeout) as exchange:
        exchange.request({"method": method, "parameters": parameters or {}, "more": True}, fds)
        yield from exchange.replies()


def replies(connected: socket, service: str, method: str) -> "Iterator[dict[str, Any]]":
    """The replies that come on a socket of one's own, as those of `stream`. The socket is closed at the end."""
    with _Exchange(service, method, None, connected) as exchange:
        yield from exchange.replies()


class _Exchange:
    """One call on its own connection, with one deadline."""

    def __init__(self, path: str, method: str, timeout: float | None, connected: socket | None = None) -> None:
        self._path = path
        self._service = os.path.basename(path)
        self._method = method
        self._timeout = timeout
        self._deadline = None if timeout is None else monotonic() + timeout
        self._buffer = bytearray()
        self._sock = connected or socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)

    def __enter__(self) -> "_Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def _limit(self) -> None:
        """Give the next operation what is left of the deadline."""
        if self._deadline is not None:
            left = self._deadline - monotonic()
            if left <= 0:
                raise self._timed_out()
            self._sock.settimeout(left)

    def _timed_out(self) -> ContainerError:
        return errors.timed_out(self._service, self._method, self._timeout or 0)

    def request(self, message: "dict[str, Any]", fds: "Sequence[int]") -> None:
        """Connect and send the call."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\0"
        try:
            self._connect()
        except TimeoutError:
            raise self._timed_out() from None
        except OSError as error:
            raise errors.not_reachable(self._service, self._path, os_reason(error)) from None
        packed = b"".join(fd.to_bytes(4, byteorder) for fd in fds)
        rest = memoryview(data)
        while rest:
            control = [(SOL_SOCKET, SCM_RIGHTS, packed)] if packed else []
            rest = rest[self._bounded(self._sock.sendmsg, [rest], control, MSG_NOSIGNAL) :]
            packed = b""

    def _connect(self) -> None:
        while True:
            self._limit()
            try:
                return address.connect_service(self._path, self._sock)
            except BlockingIOError:  # the backlog is full; the kernel has no event for room in it
                sleep(_BACKLOG_FULL_DELAY)

    def _bounded(self, operation: "Callable[..., T]", *arguments: "Any") -> "T":
        self._limit()
        try:
            return operation(*arguments)
        except TimeoutError:
            raise self._timed_out() from None
        except OSError as error:
            raise errors.hung_up(self._service, self._method, os_reason(error)) from None

    def _receive(self) -> bytes:
        if _wakeup is not None and _wakeup[1] == get_ident():
            self._wait_for_data(_wakeup[0])
        return self._sock.recv(_READ_SIZE)

    def _wait_for_data(self, wakeup: int) -> None:
        from select import POLLIN, poll

        waiter = poll()
        waiter.register(self._sock, POLLIN)
        waiter.register(wakeup, POLLIN)
        while True:
            left = None if self._deadline is None else max(0.0, self._deadline - monotonic()) * 1000
            ready = [fd for fd, _ in waiter.poll(left)]
            if not ready:
                raise self._timed_out()
            if self._sock.fileno() in ready:
                return
            os.read(wakeup, 4096)  # the handlers have run when it returns

    def replies(self) -> "Iterator[dict[str, Any]]":
        """The parameters of each reply, until the one that does not continue."""
        continues = True
        while continues:
            continues, content = self.reply()
            if continues or content:
                yield content

    def reply(self) -> "tuple[bool, dict[str, Any]]":
        """The next reply: whether more follow, and its parameters. An error reply is raised."""
        data = self._message()
        try:
            message = json.loads(data)
            content = message.get("parameters") or {}
            error, continues = message.get("error"), bool(message.get("continues"))
        except (ValueError, AttributeError, RecursionError) as failure:
            raise errors.bad_reply(self._service, self._method, str(failure)) from None
        if error is not None:
            raise errors.from_wire(str(error), content)
        return continues, content

    def _message(self) -> bytes:
        start = 0
        while (end := self._buffer.find(0, start)) < 0:
            start = len(self._buffer)
            if start > MESSAGE_MAX:
                raise errors.bad_reply(self._service, self._method, f"it is longer than {MESSAGE_MAX} bytes")
            data = self._bounded(self._receive)
            if not data:
                raise errors.hung_up(self._service, self._method)
            self._buffer += data
        message = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return message
