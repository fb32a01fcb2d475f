"""Streams between the agent's transfers (guest/src/transfer.h) and descriptors of the host: files in and out."""

import asyncio
from collections.abc import Coroutine
from contextlib import closing, suppress
from typing import Any

from container.errors import ContainerError, ErrorCode
from container.guest.client import GuestClient
from container.guest.descriptors import Sink, Source
from container.guest.mux import CHUNK, Stream

_SLACK = 1 << 20  # bytes that wait for a slow reader before the guest does


async def send(guest: GuestClient, op: str, fd: int, **arguments: Any) -> None:
    """Feed a transfer from `fd`, to its end of file or until the guest has enough.

    Raises GuestError, and ContainerError(INTERRUPTED) when the channel ended. `fd` stays the caller's.
    """
    stream, request = guest.transfer(op, **arguments)
    with closing(stream), Source(fd) as source:
        await _until_answered(request, _feed(source, stream))


async def receive(guest: GuestClient, op: str, fd: int, **arguments: Any) -> None:
    """Write what a transfer yields to `fd`; returns when all of it is written.

    Raises GuestError, and ContainerError(INTERRUPTED) when the channel ended, or when nobody reads `fd` any more. `fd`
    stays the caller's.
    """
    stream, request = guest.transfer(op, **arguments)
    with closing(stream), Sink(fd) as sink:
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(_pump(stream, sink))
            error = await _caught(request)
            if error is not None and not sink.dropped:
                pump.cancel()  # the agent may not even have opened the stream
        if sink.dropped:
            raise ContainerError(ErrorCode.INTERRUPTED, "the archive's reader has gone")
        if error is not None:
            raise error


async def _pump(stream: Stream, sink: Sink) -> None:
    with suppress(ContainerError):  # the answer tells why
        while data := await stream.read():
            sink.write(data)
            if sink.waiting > _SLACK:
                await sink.room()
            if sink.dropped:
                stream.close()
                return
    await sink.flushed()


async def _feed(source: Source, stream: Stream) -> None:
    with suppress(ContainerError):  # the answer tells why
        while data := await source.read(CHUNK):
            await stream.write(data)
        await stream.write_eof()


async def _until_answered(request: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]) -> None:
    """Await a request, with work beside it that ends with it."""
    async with asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(work)
        error = await _caught(request)
        beside.cancel()
    if error is not None:
        raise error


async def _caught(request: Coroutine[Any, Any, None]) -> ContainerError | None:
    """The failure of a request as a value: a group would wrap it."""
    try:
        await request
    except ContainerError as error:
        return error
    return None
