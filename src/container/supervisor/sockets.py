"""The listening sockets of a job: owned by the supervisor for as long as the job is registered."""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator

from container.errors import ContainerError, ErrorCode, os_reason
from container.ipc import address

_FIRST = 3  # SD_LISTEN_FDS_START


class ListeningSockets:
    """Binds and listens at `paths`, mode 0600; a client that connects waits until somebody accepts.

    Raises ContainerError(internal) when a path cannot be bound.
    """

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._sockets: list[socket.socket] = []
        try:
            for path in paths:
                self._listen(path)
        except OSError as error:
            self.close()
            text = f"failed to listen on {path}: {os_reason(error)}"
            raise ContainerError(ErrorCode.INTERNAL, text) from error

    def _listen(self, path: str) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sockets.append(sock)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        address.bind(sock, path)
        sock.listen(address.BACKLOG)

    def __bool__(self) -> bool:
        return bool(self._sockets)

    def fds(self) -> dict[int, int]:
        """The child's descriptor numbers and ours, as sd_listen_fds(3) wants them."""
        return {_FIRST + index: sock.fileno() for index, sock in enumerate(self._sockets)}

    def environment(self) -> dict[str, str]:
        """The variables that go with them; LISTEN_PID is the child's matter."""
        if not self._sockets:
            return {}
        names = ":".join(os.path.basename(path).replace(":", "_") for path in self._paths)
        return {"LISTEN_FDS": str(len(self._sockets)), "LISTEN_FDNAMES": names}

    @contextlib.contextmanager
    def watched(self, on_client: Callable[[], object]) -> Iterator[None]:
        """Call `on_client` while clients wait to be accepted."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock, on_client)
        try:
            yield
        finally:
            for sock in self._sockets:
                loop.remove_reader(sock)

    def turn_away(self) -> None:
        """Hang up on the clients that wait, so that they learn now that nobody is going to answer."""
        poll = select.poll()
        for sock in self._sockets:
            poll.register(sock, select.POLLIN)
        by_fd = {sock.fileno(): sock for sock in self._sockets}
        for _ in range(address.BACKLOG):
            ready = poll.poll(0)
            if not ready:
                return
            for fd, _ in ready:
                with contextlib.suppress(OSError):
                    by_fd[fd].accept()[0].close()

    def close(self) -> None:
        """Close and remove the sockets."""
        for path, sock in zip(self._paths, self._sockets, strict=False):
            sock.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._sockets.clear()
