"""File servers for directories of the host (virtiofsd(1)): one process a share, confined to what it shares.

`container-share` gives the server a mount namespace in which nothing but the share can be written, and that not either
when it is read-only; the server then makes the share its root directory, so that no link and no name leads out. For an
ordinary user all of this happens in a user namespace: the container's root is the user on the host, its other ids are
the user's subordinate ids (subuid(5)).
"""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from container.errors import ContainerError, ErrorCode, internal, not_found
from container.ipc import address
from container.linux.native import program
from container.vm.process import Child, find
from container.vm.spec import Share

RUST_SERVERS = ("/usr/libexec/virtiofsd", "/usr/lib/virtiofsd")
C_SERVERS = ("/usr/lib/qemu/virtiofsd",)
FILE = "file"  # what a shared file is called in its share
ROOT = "/tmp/share"  # where container-share puts the share, in its own namespace
_HINT = (
    " (an ordinary user shares directories by subordinate ids: install the package uidmap,"
    " and give the user a range in /etc/subuid and /etc/subgid)"
)


class FileServer:
    """A running server; `share` is for the VMSpec, `is_file` when the share holds one file, called FILE."""

    def __init__(self, source: str, is_file: bool, share: Share, child: Child, connection: socket.socket) -> None:
        self.source = source
        self.is_file = is_file
        self.share = share
        self.ended = child.ended
        self._child = child
        self._connection = connection

    def handed_over(self) -> None:
        """QEMU has its copy of the socket: close ours, so that the server ends with QEMU."""
        self._connection.close()

    def failure(self) -> ContainerError | None:
        """Why it ended, None while it runs."""
        if not self.ended.done():
            return None
        said = self._child.messages() or f"the file server ended with status {self.ended.result()}"
        return internal(f"cannot share {self.source} with the container: {said}{'' if os.getuid() == 0 else _HINT}")


@asynccontextmanager
async def serve(
    source: str, tag: str, *, read_only: bool, directory: str, cached: bool = False
) -> AsyncIterator[FileServer]:
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
            raise internal(f"cannot make the socket {path}: {error.strerror}") from error
        words = arguments(source, listener.fileno(), read_only=read_only, cached=cached)
        child = Child.start(words, [listener.fileno()])
        stack.push_async_callback(child.close)
        listener.close()
        yield FileServer(source, is_file, Share(tag, connection.fileno()), child, connection)


def arguments(source: str, listener: int, *, read_only: bool, cached: bool = False) -> list[str]:
    """The argv of a server that takes one connection from the listening socket `listener`.

    What the host changes the guest sees at once, with `cached` up to a second later: it then asks several times
    less often. Device nodes cannot be made. Raises ContainerError(unsupported) without virtiofsd.
    """
    server = next((path for path in (*RUST_SERVERS, *C_SERVERS) if os.access(path, os.X_OK)), None)
    if server is None:
        message = "virtiofsd is not installed: install it (Debian 12: qemu-system-common, Debian 13: virtiofsd)"
        raise ContainerError(ErrorCode.UNSUPPORTED, message)
    prefix = [] if os.getuid() == 0 else [find("unshare"), "--map-root-user", "--map-auto", "--"]
    confined = [*prefix, program("container-share"), *(["--read-only"] if read_only else []), source, "--", server]
    if server in RUST_SERVERS:
        consistency = ["--cache=auto"] if cached else ["--cache=never", "--allow-mmap"]
        options = [f"--shared-dir={ROOT}", "--sandbox=namespace", *consistency, "--xattr", "--modcaps=-mknod"]
        return [*confined, f"--fd={listener}", *options, "--rlimit-nofile=0", "--log-level=error"]
    words = [f"source={ROOT}", "sandbox=namespace", "cache=auto", f"timeout={int(cached)}", "xattr", "modcaps=-mknod"]
    words += ["announce_submounts", "log_level=err"]
    options = [part for word in words for part in ("-o", word)]
    return [*confined, "-f", f"--fd={listener}", "--rlimit-nofile=0", *options]


def _is_file(source: str) -> bool:
    try:
        mode = os.stat(source).st_mode
    except FileNotFoundError as error:
        raise not_found(f"mount source path '{source}' does not exist") from error
    except OSError as error:
        raise internal(f"cannot share {source}: {error.strerror}") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        message = f"cannot share {source}: only directories, regular files and sockets can be mounted"
        raise ContainerError(ErrorCode.UNSUPPORTED, message)
    return stat.S_ISREG(mode)


async def first_failure(servers: list[FileServer]) -> ContainerError:
    """Wait until one of the servers has ended; why."""
    await asyncio.wait([server.ended for server in servers], return_when=asyncio.FIRST_COMPLETED)
    return next(failure for server in servers if (failure := server.failure()) is not None)
