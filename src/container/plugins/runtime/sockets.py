"""Unix sockets between host and container: published ones (`--publish-socket`), the host's ssh agent (`--ssh`), and
sockets of the host that are mounted. Each connection is a stream of the guest's channel.
"""

import asyncio
import contextlib
import errno
import functools
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from container import paths
from container.errors import ContainerError, ErrorCode, internal, invalid_state, os_reason
from container.ipc import address
from container.model.launch import Launch
from container.model.port import PublishSocket
from container.store.leftovers import Leftovers

if TYPE_CHECKING:
    from container.guest.client import GuestClient
    from container.guest.mux import Stream

SSH_SOCKET = "/var/host-services/ssh-auth.sock"  # in the container (contract 5)
BACKLOG = 128
CONNECTIONS_MAX = 128  # at a time, of all published sockets
ACCEPT_PAUSE = 0.1  # seconds
BUSY_RETRIES, BUSY_DELAY = 20, 0.05  # a server in the guest whose queue is full

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forward:
    """A socket at `container_path` whose connections go to the host's socket at `host_path`."""

    listener: str
    container_path: str
    host_path: str


def forwards(launch: Launch) -> list[Forward]:
    """Every socket of the host that the container sees: the ssh agent's, and those that are mounted."""
    found = [
        Forward(f"mount{number}", mount.destination, mount.source)
        for number, mount in enumerate(launch.configuration.mounts)
        if mount.kind == "virtiofs" and is_socket(mount.source)
    ]
    if launch.configuration.ssh and launch.ssh_socket:
        found.append(Forward("ssh", SSH_SOCKET, launch.ssh_socket))
    return found


def is_socket(path: str) -> bool:
    """Whether the host has a unix socket there."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


class HostSockets:
    """Sockets of the host, bound and not listening yet; closing removes them."""

    def __init__(self, record: str) -> None:
        self.bound: list[tuple[socket.socket, PublishSocket]] = []
        self._leftovers = Leftovers(record)

    def __enter__(self) -> "HostSockets":
        return self

    def __exit__(self, *exc_info: object) -> None:
        while self.bound:
            self.bound.pop()[0].close()
        self._leftovers.remove()

    def bind(self, published: Iterable[PublishSocket]) -> None:
        """Raises ContainerError: exists for a socket that is there already, internalError for the rest."""
        self._leftovers.remove()
        for wanted in published:
            _make_way(wanted.host_path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            self.bound.append((sock, wanted))
            try:
                address.bind(sock, wanted.host_path, 0o600 if wanted.permissions is None else wanted.permissions)
                self._leftovers.note(wanted.host_path)
            except OSError as error:
                raise internal(f"cannot publish a socket at {wanted.host_path}: {os_reason(error)}") from error


def bind(published: Sequence[PublishSocket], bundle: str) -> HostSockets:
    """Reserve the host's paths of `published`; nothing stays when that fails. Raises ContainerError."""
    with contextlib.ExitStack() as stack:
        sockets = stack.enter_context(HostSockets(os.path.join(bundle, paths.SOCKETS_RECORD)))
        sockets.bind(published)
        stack.pop_all()
        return sockets


def _make_way(path: str) -> None:
    """Make the parent; a regular file that was left there goes."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise internal(f"cannot publish a socket at {path}: {os_reason(error)}") from error
    if stat.S_ISSOCK(mode):
        raise ContainerError(ErrorCode.EXISTS, f"host socket {path} already exists and may be in use")
    if not stat.S_ISREG(mode):
        raise invalid_state(f"cannot publish a socket at {path}: something that is no socket is there already")


@contextlib.asynccontextmanager
async def relay(
    guest: "GuestClient", published: HostSockets | None, wanted: Sequence[Forward], group: asyncio.TaskGroup
) -> AsyncIterator[None]:
    """Relay while the context lasts. The guest's sockets are there then, for mounts of kind `socket`."""
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        task = group.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    try:
        for forward in wanted:
            await guest.listen(
                forward.listener, functools.partial(lambda item, stream: spawn(_to_host(item, stream)), forward)
            )
        slots = asyncio.Semaphore(CONNECTIONS_MAX)
        for sock, item in [] if published is None else published.bound:
            sock.listen(BACKLOG)
            spawn(_accept(sock, functools.partial(_to_guest, guest, item.container_path, slots), slots, spawn))
        yield
    finally:
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _accept(
    sock: socket.socket,
    serve: Callable[[socket.socket], Coroutine[Any, Any, None]],
    slots: asyncio.Semaphore,
    spawn: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await slots.acquire()
        try:
            connection, _ = await loop.sock_accept(sock)
        except OSError as error:  # short of descriptors: it would be ready at once again
            slots.release()
            _log.error("cannot accept a connection: %s", error.strerror)
            await asyncio.sleep(ACCEPT_PAUSE)
            continue
        spawn(serve(connection))


async def _to_guest(guest: "GuestClient", path: str, slots: asyncio.Semaphore, connection: socket.socket) -> None:
    from container.guest.splice import splice

    try:
        with connection:
            connection.setblocking(False)
            await splice(await _connect(guest, path), connection)
    except ContainerError as error:
        _log.info("a connection was refused: %s", error)
    finally:
        slots.release()


async def _connect(guest: "GuestClient", path: str) -> "Stream":
    """Raises ContainerError."""
    from container.guest.process import GuestError

    for _ in range(BUSY_RETRIES):
        try:
            return await guest.connect_socket(path)
        except GuestError as error:
            if error.errno != errno.EAGAIN:
                raise
        await asyncio.sleep(BUSY_DELAY)
    return await guest.connect_socket(path)


async def _to_host(forward: Forward, stream: "Stream") -> None:
    from container.guest.splice import splice

    with contextlib.closing(stream), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            address.connect(forward.host_path, connection.connect)
        except OSError as error:
            _log.warning("cannot connect to %s for %s: %s", forward.host_path, forward.listener, error.strerror)
            return
        await splice(stream, connection)
