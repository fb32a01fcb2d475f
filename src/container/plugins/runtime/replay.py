"""Changes that the host makes in shares, told to the guest, whose own inotify(7) does not see them."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from container.errors import ContainerError
from container.vm.virtiofs import FileServer

if TYPE_CHECKING:
    from container.guest.client import GuestClient
    from container.guest.mux import Stream

PACKET_MAX = 65536  # bytes; container-share sends less
WARNING = b"w"  # how a packet begins that is a sentence (native/src/watch.h)

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def replaying(guest: "GuestClient", servers: Sequence[FileServer], group: asyncio.TaskGroup) -> Iterator[None]:
    """Pass on, while the context lasts, what the servers that watch their sources tell."""
    tasks = [
        group.create_task(_replay(guest, server.share.tag, server.changes, server.source))
        for server in servers
        if server.changes is not None
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def _replay(guest: "GuestClient", volume: str, changes: socket.socket, source: str) -> None:
    stream, request = guest.transfer("share.replay", path=volume)
    with contextlib.closing(stream):
        feeding = asyncio.ensure_future(_feed(changes, stream, source))
        try:
            await request
        except ContainerError as error:  # also the end of the container
            _log.info("changes in %s are not reported any more: %s", source, error)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


async def _feed(changes: socket.socket, stream: "Stream", source: str) -> None:
    loop = asyncio.get_running_loop()
    while packet := await loop.sock_recv(changes, PACKET_MAX):
        if packet.startswith(WARNING):
            _log.warning("%s: %s", source, packet[1:].decode(errors="replace"))
        else:
            await stream.write(packet)
