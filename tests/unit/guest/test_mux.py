"""`container.guest.mux` against an agent that the test plays itself, byte by byte."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from container.errors import ContainerError, ErrorCode
from container.guest import wire
from container.guest.mux import Mux


class Peer:
    """The agent's end."""

    def __init__(self, mux: Mux, channel: socket.socket) -> None:
        self.mux = mux
        self.events: list[dict[str, Any]] = []
        self.running: asyncio.Task[None] | None = None
        self._socket = channel
        self._decoder = wire.Decoder()
        self._frames: list[tuple[int, int, bytes]] = []

    async def send(self, *frames: bytes) -> None:
        """Put bytes on the channel."""
        await asyncio.get_running_loop().sock_sendall(self._socket, b"".join(frames))

    async def receive(self) -> tuple[int, int, bytes]:
        """The next frame that the host sent."""
        header = await self._exactly(wire.FRAME_HEADER_SIZE)
        length, stream, kind = (
            int.from_bytes(header[:4], "little"),
            int.from_bytes(header[4:8], "little"),
            header[8],
        )
        return kind, stream, await self._exactly(length)

    async def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await asyncio.get_running_loop().sock_recv(self._socket, count - len(data))
            assert more
            data += more
        return data

    def hang_up(self) -> None:
        """Close the agent's end."""
        self._socket.close()


@contextlib.asynccontextmanager
async def channel() -> AsyncIterator[Peer]:
    """A mux that runs, and its peer."""
    host, guest = socket.socketpair()
    guest.setblocking(False)
    events: list[dict[str, Any]] = []
    with host, guest:
        mux = Mux(host, events.append)
        peer = Peer(mux, guest)
        peer.events = events
        async with asyncio.TaskGroup() as tasks:
            peer.running = tasks.create_task(mux.run())
            yield peer
            peer.running.cancel()


async def test_replies_find_their_requests_in_any_order() -> None:
    async with channel() as peer, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(peer.mux.request({"op": "a"}))
        second = tasks.create_task(peer.mux.request({"op": "b"}))
        numbers = {json.loads(payload)["op"]: number for _, number, payload in [await peer.receive() for _ in "ab"]}
        for op in ("b", "a"):
            await peer.send(wire.encode(wire.KIND_REPLY, numbers[op], json.dumps({"result": op}).encode()))
        assert await first == {"result": "a"}
        assert await second == {"result": "b"}


async def test_a_writer_stops_at_its_credit_and_goes_on_with_more() -> None:
    async with channel() as peer, asyncio.TaskGroup() as tasks:
        stream = peer.mux.open()
        writing = tasks.create_task(stream.write(bytes(wire.WINDOW_INITIAL + 1000)))
        received = 0
        while received < wire.WINDOW_INITIAL:
            received += len((await peer.receive())[2])
        assert received == wire.WINDOW_INITIAL
        await asyncio.sleep(0.05)
        assert not writing.done()
        await peer.send(wire.encode_word(wire.KIND_WINDOW, stream.number, 600))
        assert len((await peer.receive())[2]) == 600
        await peer.send(wire.encode_word(wire.KIND_WINDOW, stream.number, 600))
        assert len((await peer.receive())[2]) == 400
        await writing


async def test_a_reader_gives_credit_back_only_for_what_it_read() -> None:
    async with channel() as peer:
        stream = peer.mux.open()
        for _ in range(wire.WINDOW_INITIAL // 65536):
            await peer.send(wire.encode(wire.KIND_DATA, stream.number, bytes(65536)))
        await asyncio.sleep(0.05)
        read = 0
        for _ in range(wire.WINDOW_INITIAL // 65536 // 4):
            read += len(await stream.read())
        kind, number, payload = await peer.receive()
        assert (kind, number, wire.decode_word(payload)) == (wire.KIND_WINDOW, stream.number, read)


async def test_an_agent_past_its_credit_ends_the_channel() -> None:
    async with channel() as peer:
        stream = peer.mux.open()
        with contextlib.suppress(OSError):
            for _ in range(wire.WINDOW_INITIAL // 65536 + 1):
                await peer.send(wire.encode(wire.KIND_DATA, stream.number, bytes(65536)))
        assert peer.running is not None
        await asyncio.wait_for(peer.running, 10)
        assert "past its credit" in peer.mux.error.message
        assert len(await stream.read()) == 65536  # what came before is whole


async def test_end_of_file_comes_after_the_bytes() -> None:
    async with channel() as peer:
        stream = peer.mux.open()
        await peer.send(wire.encode(wire.KIND_DATA, stream.number, b"last"), wire.encode(wire.KIND_EOF, stream.number))
        assert [await stream.read(), await stream.read(), await stream.read()] == [b"last", b"", b""]


async def test_a_reset_wakes_the_writer() -> None:
    async with channel() as peer, asyncio.TaskGroup() as tasks:
        stream = peer.mux.open()

        async def write() -> ErrorCode:
            with pytest.raises(ContainerError, match="Broken pipe") as caught:
                await stream.write(bytes(2 * wire.WINDOW_INITIAL))
            return caught.value.code

        writing = tasks.create_task(write())
        for _ in range(wire.WINDOW_INITIAL // 65536):
            await peer.receive()
        await peer.send(wire.encode_word(wire.KIND_RESET, stream.number, 32))
        assert await writing is ErrorCode.INTERRUPTED


async def test_the_end_of_the_channel_fails_everything_that_waits() -> None:
    async with channel() as peer, asyncio.TaskGroup() as tasks:
        stream = peer.mux.open()

        async def failing(what: "Any") -> ErrorCode:
            with pytest.raises(ContainerError) as caught:
                await what
            return caught.value.code

        waiting = [tasks.create_task(failing(what)) for what in (stream.read(), peer.mux.request({"op": "x"}))]
        await asyncio.sleep(0)
        await peer.receive()
        peer.hang_up()
        assert [await task for task in waiting] == [ErrorCode.INTERRUPTED] * 2
        assert await failing(peer.mux.request({})) is ErrorCode.INTERRUPTED


@pytest.mark.parametrize("frame", [wire.encode(wire.KIND_REPLY, 1, b"no"), wire.encode(wire.KIND_EVENT, 0, b"[]")])
async def test_a_message_that_is_no_object_ends_the_channel(frame: bytes) -> None:
    async with channel() as peer:
        await peer.send(frame)
        with pytest.raises(ContainerError, match="broke the protocol"):
            await peer.mux.open().read()


async def test_a_closed_stream_is_told_to_the_agent_once() -> None:
    async with channel() as peer:
        stream = peer.mux.open()
        stream.close()
        stream.close()
        assert (await peer.receive())[:2] == (wire.KIND_RESET, stream.number)
        await peer.send(
            wire.encode(wire.KIND_DATA, stream.number, b"late"), wire.encode(wire.KIND_EVENT, 0, b'{"e":1}')
        )
        while not peer.events:
            await asyncio.sleep(0)
        assert peer.events == [{"e": 1}]
