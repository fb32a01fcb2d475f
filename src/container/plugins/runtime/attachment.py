"""A caller's own connection to the process it is attached to: it outlives the API server, which passed it on.

What comes there are the replies of the call, but for progress, as varlink messages. The caller is attached until it
closes its end. What it sends, a byte, says that it is ready for what goes through its streams.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from asyncvarlink import FileDescriptor

from container.errors import ContainerError
from container.ipc import errors
from container.ipc.dispatch import encode_message
from container.model import codec
from container.model.event import ProcessEvent


class Attachment:
    """Our end of a stream socket."""

    def __init__(self, descriptor: FileDescriptor) -> None:
        """Duplicates it. Raises OSError for one that is no socket."""
        with contextlib.ExitStack() as stack:
            fd = os.dup(descriptor.fileno())
            stack.callback(os.close, fd)
            self._sock = socket.socket(fileno=fd)
            stack.pop_all()
        self._sock.setblocking(False)
        self.ready = asyncio.Event()  # the streams may flow; also when the caller has gone

    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the caller has closed its end."""
        asyncio.get_running_loop().add_reader(self._sock, self._look, gone)

    def _look(self, gone: Callable[[], None]) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                alive = bool(self._sock.recv(4096))
            except ConnectionError:
                alive = False
            self.ready.set()
            if not alive:
                self.close()
                gone()

    def tell(self, event: ProcessEvent) -> None:
        """Pass on an event."""
        self._send({"parameters": {"event": codec.encode(event)}, "continues": True})

    def end(self, error: ContainerError | None = None) -> None:
        """Say that no event follows, with `error` why the last one is missing."""
        if error is None:
            self._send({"parameters": {}})
        else:
            name, parameters = errors.to_wire(error)
            self._send({"error": name, "parameters": parameters})
        self.close()

    def _send(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # it has gone: `_look` hears of it
            self._sock.send(encode_message(message), socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """Hang up. Idempotent."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
