"""The serving side: socket, peer check, connections.

A peer whose uid is neither ours nor 0 is refused before a byte of it is read. Calls of one connection run in order;
calls of several run side by side. A caller that hangs up, by closing or by shutting down its sending side, cancels its
call. Each call is bounded: 16 MiB a message, 64 descriptors, 64 calls waiting.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from asyncvarlink import FileDescriptor, VarlinkInterface, VarlinkInterfaceRegistry
from asyncvarlink.serviceinterface import VarlinkServiceInterface

from container.errors import ContainerError, ErrorCode, os_reason
from container.ipc import address
from container.ipc.connection import Connection
from container.ipc.dispatch import PeerGoneError, Reply, dispatch
from container.ipc.framing import Message
from container.ipc.wireerrors import ErrorInterface
from container.linux.peercred import is_trusted, peer_credentials
from container.paths import Roots
from container.version import VERSION

_log = logging.getLogger(__name__)
_LISTEN_FDS_START = 3
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def serve(interfaces: Iterable[VarlinkInterface], *, service: str, roots: Roots) -> "Server":
    """A server on the socket that the supervisor passed (sd_listen_fds(3)), else on `roots.socket(service)`.

    Clients can connect when this returns; they are answered inside `async with server`.
    Raises ContainerError(exists) when another process serves there.
    """
    sock = inherited_socket(service)
    path = None
    if sock is None:
        path = roots.socket(service)
        sock = listen(path, service)
    return Server(interfaces, sock, service=service, path=path)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set: what a helper's main waits for."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def inherited_socket(service: str) -> socket.socket | None:
    """The listening socket that belongs to `service` among those passed by LISTEN_FDS, None without any."""
    count = int(os.environ.get("LISTEN_FDS", "0") or 0)
    if count < 1 or os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    index = names.index(service) if service in names else 0
    if service not in names and count > 1:
        return None
    fd = _LISTEN_FDS_START + index
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)


def listen(path: str, service: str) -> socket.socket:
    """A listening socket at `path`, mode 0600, in a directory that is closed to others; a stale one is replaced.

    Raises ContainerError(exists) when somebody answers there, ContainerError(internal) when it cannot be made.
    """
    try:
        address.make_run_root(os.path.dirname(path))
        if _answers(path):
            raise ContainerError(ErrorCode.EXISTS, f"{service} is already running on {path}")
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            address.bind(sock, path)
            sock.listen(address.BACKLOG)
            stack.pop_all()
            return sock
    except OSError as error:
        text = f"failed to listen for {service} on {path}: {os_reason(error)}"
        raise ContainerError(ErrorCode.INTERNAL, text) from error


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            address.connect_service(path, probe)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:
            return True
        return True


class Server:
    """Serves interfaces on a listening socket, which it owns, inside `async with`.

    Leaving cancels what is under way and waits for it; a socket that it bound itself is removed.
    """

    def __init__(
        self, interfaces: Iterable[VarlinkInterface], sock: socket.socket, *, service: str, path: str | None = None
    ) -> None:
        self.service = service
        self._sock = sock
        self._path = path
        self._registry = VarlinkInterfaceRegistry()
        about = VarlinkServiceInterface("container", service, VERSION, "", self._registry)
        for interface in (about, ErrorInterface(), *interfaces):
            self._registry.register_interface(interface)
        self._tasks: asyncio.TaskGroup
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._tasks = await asyncio.TaskGroup().__aenter__()
        self._sock.setblocking(False)
        self._watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_listener()
        for task in self._running:
            task.cancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:  # an error of the block goes on as it is, not in a group
            await self._tasks.__aexit__(None, None, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        async with self:
            await stop.wait()

    async def drain(self, seconds: float = 2.0) -> None:
        """Take no more connections and give callers `seconds` to take their answers and hang up."""
        self._close_listener()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    def _close_listener(self) -> None:
        if self._sock.fileno() < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        self._sock.close()
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _watch(self) -> None:
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                _log.error("%s: cannot accept a connection: %s", self.service, error.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._sock)
                loop.call_later(0.5, self._watch)
                return
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        """Check who it is before anything else."""
        peer = peer_credentials(sock)
        if not is_trusted(peer.uid):
            sock.close()
            _log.warning("%s: refused a connection of uid %d (pid %d)", self.service, peer.uid, peer.pid)
            return
        task = self._tasks.create_task(self._serve(Connection(sock, patient=False)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, connection: Connection) -> None:
        """Answer the calls of one connection until it ends."""
        try:
            async with asyncio.TaskGroup() as group:
                calls = group.create_task(self._answer_calls(connection))
                await connection.ended.wait()
                calls.cancel()
        except* Exception:
            _log.exception("%s: a connection failed", self.service)
        finally:
            connection.close()
            if connection.failure is not None:
                _log.warning("%s: closed a connection: %s", self.service, connection.failure.message)

    async def _answer_calls(self, connection: Connection) -> None:
        try:
            while (message := await connection.receive()) is not None:
                await self._answer(connection, message)
        except ContainerError as error:
            connection.failure = error
        except PeerGoneError:
            pass
        finally:
            connection.end()

    async def _answer(self, connection: Connection, message: Message) -> None:
        async def send(reply: Reply) -> None:
            data, passed = reply
            await connection.send(data, [descriptor.fileno() for descriptor in passed])

        with contextlib.ExitStack() as owned:
            descriptors = [FileDescriptor(fd, should_close=True) for fd in message.fds]
            message.fds.clear()
            for descriptor in descriptors:
                owned.callback(descriptor.release)
            await dispatch(self._registry, message, descriptors, send)
