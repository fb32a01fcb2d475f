"""Streams between the agent's transfers (guest/src/transfer.h) and descriptors of the host: files in and out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

from container.errors import ContainerError, ErrorCode, internal, os_reason
from container.guest.client import GuestClient
from container.guest.descriptors import Sink, Source
from container.guest.mux import CHUNK, Stream

_SLACK = 1 << 20  # bytes that wait for a slow reader before the guest does


async def send(guest: GuestClient, op: str, fd: int, *, patience: float | None = None, **arguments: Any) -> None:
    """Feed a transfer from `fd`, to its end of file or until the guest has enough.

    Raises GuestError, ContainerError(INTERRUPTED) when the channel ended, ContainerError(TIMEOUT) when nothing moves
    for `patience` seconds. `fd` stays the caller's.
    """
    stream, request = guest.transfer(op, **arguments)
    with closing(stream), Source(fd) as source:
        async with _moving(patience) as moved:
            await _until_answered(request, _feed(source, stream, moved))


async def receive(guest: GuestClient, op: str, fd: int, *, patience: float | None = None, **arguments: Any) -> None:
    """Write what a transfer yields to `fd`; returns when all of it is written.

    Raises GuestError, ContainerError(INTERRUPTED) when the channel ended, or when nobody reads `fd` any more,
    ContainerError(INTERNAL) when it cannot be written, ContainerError(TIMEOUT) when nothing moves for `patience`
    seconds. `fd` stays the caller's.
    """
    stream, request = guest.transfer(op, **arguments)
    with closing(stream), Sink(fd) as sink:
        async with _moving(patience) as moved, asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(_pump(stream, sink, moved))
            error = await _caught(request)
            if error is not None and not sink.dropped:
                pump.cancel()  # the agent may not even have opened the stream
        if sink.failure is not None and not sink.broken:
            raise internal(f"failed to write the archive: {os_reason(sink.failure)}")
        if sink.dropped:
            raise ContainerError(ErrorCode.INTERRUPTED, "cannot write the archive: its reader has gone")
        if error is not None:
            raise error


@asynccontextmanager
async def _moving(patience: float | None) -> AsyncIterator[Callable[[], None]]:
    """What is inside is cancelled when what this yields is not called for `patience` seconds (None: never)."""
    loop = asyncio.get_running_loop()

    def moved() -> None:
        if patience is not None and not scope.expired():
            scope.reschedule(loop.time() + patience)

    try:
        async with asyncio.timeout(patience) as scope:
            yield moved
    except TimeoutError:
        raise ContainerError(ErrorCode.TIMEOUT, f"cannot copy: nothing moved for {patience:g} s") from None


async def _pump(stream: Stream, sink: Sink, moved: Callable[[], None]) -> None:
    with suppress(ContainerError):  # the answer tells why
        while data := await stream.read():
            moved()
            sink.write(data)
            if sink.waiting > _SLACK:
                await sink.room()
            if sink.dropped:
                stream.close()
                return
    while sink.waiting:
        await sink.room()
        moved()


async def _feed(source: Source, stream: Stream, moved: Callable[[], None]) -> None:
    with suppress(ContainerError):  # the answer tells why
        while data := await source.read(CHUNK):
            await stream.write(data)
            moved()
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
