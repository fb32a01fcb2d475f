"""A stream of the channel joined to a connected socket of the host: both directions, each until its own end."""

import asyncio
import contextlib
import socket

from container.errors import ContainerError
from container.guest.mux import CHUNK, Stream


class _Gone(Exception):
    """One side is gone: the other has no one to talk to."""


async def splice(stream: Stream, connection: socket.socket) -> None:
    """Relay until both directions have ended, or one side is gone; then neither is open any more.

    `connection` must not block. An end of file goes on as one, and the other direction goes on.
    """
    with connection, contextlib.closing(stream):
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_to_guest(connection, stream))
                tasks.create_task(_to_host(stream, connection))
        except* (OSError, ContainerError, _Gone):
            pass


async def _to_guest(connection: socket.socket, stream: Stream) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(connection, CHUNK):
        try:
            await stream.write(data)
        except ContainerError:  # it takes no more; what it still has to say is for the other direction
            return
    await stream.write_eof()


async def _to_host(stream: Stream, connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await stream.read():
        await loop.sock_sendall(connection, data)
    connection.shutdown(socket.SHUT_WR)
    if stream.broken:
        raise _Gone
