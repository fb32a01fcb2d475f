"""File servers for directories of the host (virtiofsd(1)): one process a share, confined to what it shares.

`container-share` gives the server a mount namespace in which nothing but the share can be written, and that not either
when it is read-only; the server then makes the share its root directory, so that no link and no name leads out. For an
ordinary user all of this happens in a user namespace: the container's root is the user on the host, its other ids are
the user's subordinate ids (subuid(5)).
"""

import asyncio
import logging
import os
import re
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from container.errors import ContainerError, ErrorCode, internal, not_found, os_reason
from container.ipc import address
from container.linux.native import program
from container.vm.process import Child, find
from container.vm.spec import Share
from container.vm.stderr import StandardError

RUST_SERVERS = ("/usr/libexec/virtiofsd", "/usr/lib/virtiofsd")
C_SERVERS = ("/usr/lib/qemu/virtiofsd",)
PANICKED = re.compile(r"^thread '.*' (\(\d+\) )?panicked at ")  # what Rust's runtime says
LOGGED_MAX = 64 * 1024  # bytes of one server: a guest may be able to make it talk
FILE = "file"  # what a shared file is called in its share
ROOT = "/tmp/share"  # where container-share puts the share, in its own namespace
_HINT = (
    " (an ordinary user shares directories by subordinate ids: install the package uidmap,"
    " and give the user a range in /etc/subuid and /etc/subgid)"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """How a source is shared.

    `cached`: what the host changes the guest sees up to a second later, and asks several times less often. `watched`:
    changes are told, for inotify(7) inside. `uid`, `gid`: ids that the source's owner has inside; None: as it is.
    """

    read_only: bool = False
    cached: bool = False
    watched: bool = False
    uid: int | None = None
    gid: int | None = None


class FileServer:
    """A running server; `share` is for the VMSpec, `is_file` when the share holds one file, called FILE.

    `changes` is a socket with one packet for each batch of changes of a source that is watched (native/src/watch.h).
    `ended` has its exit status. One that has `panicked` lost a thread and never answers some requests: it is ended.
    """

    def __init__(
        self,
        source: str,
        is_file: bool,
        share: Share,
        child: Child,
        said: StandardError,
        connection: socket.socket,
        changes: socket.socket | None,
    ) -> None:
        self.source = source
        self.is_file = is_file
        self.share = share
        self.changes = changes
        self.ended = child.ended
        self.panicked = False
        self._child = child
        self._said = said
        self._connection = connection

    def handed_over(self) -> None:
        """QEMU has its copy of the socket: close ours, so that the server ends with QEMU."""
        self._connection.close()

    def failure(self) -> ContainerError | None:
        """Why it ended, None while it runs."""
        if not self.ended.done():
            return None
        self._said.drain()
        said = self._said.text() or f"the file server ended with status {self.ended.result()}"
        if self.panicked:
            said = f"a thread of its server panicked: {' '.join(said.split())}"
        hint = "" if self.panicked or os.getuid() == 0 else _HINT
        return internal(f"the share {self.source} failed: {said}{hint}")

    def hear(self, line: str) -> None:
        """What it says on its standard error."""
        if self._said.count <= LOGGED_MAX:
            _log.warning("share %s: %s", self.source, line)
        if PANICKED.match(line):
            self.panicked = True
            self._child.send(signal.SIGKILL)


@asynccontextmanager
async def serve(source: str, tag: str, terms: Terms, *, directory: str) -> AsyncIterator[FileServer]:
    """Share a directory or a regular file under `tag`; leaving the context ends the server.

    The socket is made in `directory` and removed from it at once. Enter it on the main thread (see `Child`).
    Raises ContainerError: notFound when the source is not there, unsupported without virtiofsd.
    """
    is_file = _is_file(source)
    async with AsyncExitStack() as stack:
        listener, connection = (socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX))
        stack.callback(listener.close)
        stack.callback(connection.close)
        path = os.path.join(directory, f"{tag}.sock")
        try:
            address.bind(listener, path)
            listener.listen(1)
            address.connect(path, connection.connect)
            os.unlink(path)
        except OSError as error:
            raise internal(f"cannot make the socket {path}: {os_reason(error)}") from error
        changes, told = _changes(stack) if terms.watched else (None, None)
        words = arguments(source, listener.fileno(), terms, -1 if told is None else told.fileno())
        said = StandardError(lambda line: server.hear(line))
        stack.callback(said.close)
        child = Child.start(words, [listener.fileno(), *([] if told is None else [told.fileno()])], said.write)
        stack.push_async_callback(child.close)
        said.handed_over()
        listener.close()
        if told is not None:
            told.close()
        server = FileServer(source, is_file, Share(tag, connection.fileno()), child, said, connection, changes)
        yield server


def _changes(stack: AsyncExitStack) -> tuple[socket.socket, socket.socket]:
    """Our end, which does not block, and the watcher's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.callback(ours.close)
    stack.callback(theirs.close)
    ours.setblocking(False)
    return ours, theirs


def arguments(source: str, listener: int, terms: Terms, changes: int = -1) -> list[str]:
    """The argv of a server that takes one connection from the listening socket `listener`.

    Device nodes cannot be made. With `changes`, a socket, it is told what changes. Raises ContainerError(unsupported)
    without virtiofsd.
    """
    server = next((path for path in (*RUST_SERVERS, *C_SERVERS) if os.access(path, os.X_OK)), None)
    if server is None:
        message = "virtiofsd is not installed: install it (Debian 12: qemu-system-common, Debian 13: virtiofsd)"
        raise ContainerError(ErrorCode.UNSUPPORTED, message)
    prefix = [] if os.getuid() == 0 else [find("unshare"), "--map-root-user", "--map-auto", "--"]
    confined = [*prefix, program("container-share"), *_confinement(terms, changes), source, "--", server]
    if server in RUST_SERVERS:
        consistency = ["--cache=auto"] if terms.cached else ["--cache=never", "--allow-mmap"]
        options = [f"--shared-dir={ROOT}", "--sandbox=namespace", *consistency, "--xattr", "--modcaps=-mknod"]
        return [*confined, f"--fd={listener}", *options, "--rlimit-nofile=0", "--log-level=error"]
    words = [
        f"source={ROOT}",
        "sandbox=namespace",
        "cache=auto",
        f"timeout={int(terms.cached)}",
        "xattr",
        "modcaps=-mknod",
    ]
    words += ["announce_submounts", "log_level=err"]
    options = [part for word in words for part in ("-o", word)]
    return [*confined, "-f", f"--fd={listener}", "--rlimit-nofile=0", *options]


def _confinement(terms: Terms, changes: int) -> list[str]:
    """Options of container-share."""
    words = ["--read-only"] if terms.read_only else []
    words += [] if terms.uid is None else [f"--uid={terms.uid}"]
    words += [] if terms.gid is None else [f"--gid={terms.gid}"]
    return words + ([f"--watch={changes}"] if changes >= 0 else [])


def _is_file(source: str) -> bool:
    try:
        mode = os.stat(source).st_mode
    except FileNotFoundError as error:
        raise not_found(f"mount source path '{source}' does not exist") from error
    except OSError as error:
        raise internal(f"cannot share {source}: {os_reason(error)}") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        message = f"cannot share {source}: only directories, regular files and sockets can be mounted"
        raise ContainerError(ErrorCode.UNSUPPORTED, message)
    return stat.S_ISREG(mode)


async def first_failure(servers: list[FileServer]) -> ContainerError:
    """Wait until one of the servers has ended; why."""
    await asyncio.wait([server.ended for server in servers], return_when=asyncio.FIRST_COMPLETED)
    return next(failure for server in servers if (failure := server.failure()) is not None)
