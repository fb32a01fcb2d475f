"""Foreign descriptors: never made non-blocking, never closed, whatever they are."""

import asyncio
import fcntl
import os
import pty
import socket
import termios
import threading
import tty
from pathlib import Path

import pytest

from container.guest.descriptors import Sink, Source


def blocking(fd: int) -> bool:
    """Whether the open file blocks."""
    return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


async def read_all(fd: int) -> bytes:
    """All that a Source gives."""
    data = b""
    with Source(fd) as source:
        while piece := await asyncio.wait_for(source.read(65536), 10):
            data += piece
    return data


def take(fd: int, into: list[bytes]) -> threading.Thread:
    """Read `fd` to its end in a thread."""

    def run() -> None:
        while piece := os.read(fd, 65536):
            into.append(piece)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


async def test_a_pipe_is_read_and_stays_as_it_was() -> None:
    reader, writer = os.pipe()
    thread = threading.Thread(target=lambda: (os.write(writer, bytes(200_000)), os.close(writer)))
    thread.start()
    assert await read_all(reader) == bytes(200_000)
    thread.join()
    assert blocking(reader)
    os.close(reader)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_more_than_fits_is_written_as_the_reader_reads(kind: str) -> None:
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        reader, writer = (end.detach() for end in socket.socketpair())
    data, got = os.urandom(3_000_000), []
    with Sink(writer) as sink:
        for at in range(0, len(data), 60_000):
            sink.write(data[at : at + 60_000])
        assert sink.waiting > 0
        thread = take(reader, got)
        await asyncio.wait_for(sink.flushed(), 10)
        assert sink.waiting == 0
    assert blocking(writer)
    os.close(writer)
    await asyncio.to_thread(thread.join)
    os.close(reader)
    assert b"".join(got) == data


async def test_regular_files_and_dev_null_are_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file, Sink(file.fileno()) as sink:
        sink.write(b"x" * 100_000)
        assert sink.waiting == 0
    with path.open("ab") as file, Sink(file.fileno()) as sink:
        sink.write(b"more")
    with path.open("rb") as file:
        assert await read_all(file.fileno()) == b"x" * 100_000 + b"more"
    with open("/dev/null", "r+b", buffering=0) as null:
        assert await read_all(null.fileno()) == b""
        with Sink(null.fileno()) as sink:
            sink.write(b"gone")
            assert sink.waiting == 0


async def test_a_reader_that_went_away_drops_the_output() -> None:
    reader, writer = os.pipe()
    with Sink(writer) as sink:
        os.close(reader)
        sink.write(b"x")
        sink.write(b"y")
        await asyncio.wait_for(sink.flushed(), 10)
        assert sink.waiting == 0
    os.close(writer)


async def test_a_full_disk_drops_the_output() -> None:
    with open("/dev/full", "wb", buffering=0) as full, Sink(full.fileno()) as sink:
        sink.write(b"x")
        assert sink.waiting == 0


async def test_a_terminal_is_read_written_and_stays_as_it_was() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    with Source(slave) as source, Sink(slave) as sink:
        os.write(master, b"key")
        assert await asyncio.wait_for(source.read(100), 10) == b"key"
        assert not source.hung_up
        sink.write(b"shown")
        await asyncio.wait_for(sink.flushed(), 10)
        assert os.read(master, 100) == b"shown"
        assert blocking(slave)
        os.close(master)
        assert await asyncio.wait_for(source.read(100), 10) == b""
        assert source.hung_up
    os.close(slave)


async def test_a_terminals_master_is_never_opened_anew() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    with Source(master) as source, Sink(master) as sink:
        os.write(slave, b"x" * 1000)
        assert (await asyncio.wait_for(source.read(2000), 10)).startswith(b"x")
        sink.write(b"y" * 1000)
        await asyncio.wait_for(sink.flushed(), 10)
        assert os.read(slave, 2000).startswith(b"y")
    os.close(master)
    os.close(slave)


async def test_a_cancelled_read_leaves_nothing_watched() -> None:
    reader, writer = os.pipe()
    with Source(reader) as source:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.read(10), 0.05)
        os.write(writer, b"later")
        assert await asyncio.wait_for(source.read(10), 10) == b"later"
    os.close(reader)
    os.close(writer)


async def test_room_waits_for_the_reader_until_it_is_told_not_to() -> None:
    reader, writer = os.pipe()
    with Sink(writer) as sink:
        sink.write(bytes(1_000_000))
        waiting = asyncio.ensure_future(sink.room())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        sink.release()
        await asyncio.wait_for(waiting, 10)
        sink.drop()
        await asyncio.wait_for(sink.flushed(), 10)
    os.close(reader)
    os.close(writer)
