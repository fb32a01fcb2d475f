"""Many flow-controlled streams over one socket: the host's side of `guest/include/proto.h`.

`Mux.run` reads; every stream has its own buffer, bounded by the credit that it gave, so a reader that does not read
stalls its own stream only. Writers wait for their stream's credit, and for the socket only when much waits for it.
"""

import asyncio
import errno
import json
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from container.errors import ContainerError, ErrorCode
from container.guest import wire

CHUNK = 65524  # a frame of 64 KiB
_GIVE_BACK = wire.WINDOW_INITIAL // 4
SEED_SIZE = 32  # random bytes for the guest, at most 512
BACKLOG = 1 << 18  # bytes that wait before writers do


class Stream:
    """One stream of a channel; both directions, for one reader and one writer."""

    def __init__(self, mux: "Mux", number: int) -> None:
        self.number = number
        self._mux = mux
        self._received: deque[bytes] = deque()
        self._buffered = self._consumed = 0
        self._credit = wire.WINDOW_INITIAL
        self._read_event, self._write_event = asyncio.Event(), asyncio.Event()
        self._eof = self._sent_eof = False
        self._error: ContainerError | None = None

    async def read(self) -> bytes:
        """Next bytes, b"" at the end. ContainerError(INTERRUPTED) after a reset or when the channel ended."""
        while not self._received:
            if self._eof:
                return b""
            if self._error is not None:
                raise self._error
            self._read_event.clear()
            await self._read_event.wait()
        data = self._received.popleft()
        self._buffered -= len(data)
        self._consumed += len(data)
        if self._consumed >= _GIVE_BACK and not self._eof and self._error is None:
            consumed, self._consumed = self._consumed, 0
            self._mux.send_nowait(wire.encode_word(wire.KIND_WINDOW, self.number, consumed))
        return data

    async def write(self, data: bytes | memoryview) -> None:
        """Send bytes; waits for credit. ContainerError(INTERRUPTED): they are not wanted any more."""
        view = memoryview(data)
        while view:
            while self._credit == 0 and self._error is None:
                self._write_event.clear()
                await self._write_event.wait()
            if self._error is not None:
                raise self._error
            part = view[: min(self._credit, CHUNK)]
            view = view[len(part) :]
            self._credit -= len(part)
            await self._mux.send(wire.header(wire.KIND_DATA, self.number, len(part)), part)

    async def write_eof(self) -> None:
        """No more will be written; the other direction stays open."""
        if not self._sent_eof and self._error is None:
            self._sent_eof = True
            self._mux.send_nowait(wire.encode(wire.KIND_EOF, self.number))

    @property
    def ended(self) -> bool:
        """Whether the agent sends no more; bytes may still wait to be read."""
        return self._eof or self._error is not None

    @property
    def broken(self) -> bool:
        """Whether nothing can be written any more; what arrived before may still be read."""
        return self._error is not None

    def close(self) -> None:
        """Give the stream up: the agent is told, what still arrives is dropped."""
        if not self.ended and self._mux.forget(self):
            self._mux.send_nowait(wire.encode_word(wire.KIND_RESET, self.number, errno.EPIPE))
        self._mux.forget(self)

    def _arrived(self, data: bytes) -> None:
        self._buffered += len(data)
        if self._eof or self._buffered + self._consumed > wire.WINDOW_INITIAL:
            raise wire.WireError(f"data came on stream {self.number} past {'its end' if self._eof else 'its credit'}")
        if data:
            self._received.append(data)
            self._read_event.set()

    def _ended(self) -> None:
        self._eof = True
        self._read_event.set()

    def _granted(self, credit: int) -> None:
        self._credit += credit
        if self._credit > wire.WINDOW_MAX:
            raise wire.WireError(f"a credit of {self._credit} bytes came on stream {self.number}")
        self._write_event.set()

    def _failed(self, error: ContainerError) -> None:
        if self._error is None:
            self._error = error
        self._read_event.set()
        self._write_event.set()


class Mux:
    """One channel. `run` must be running for anything to arrive."""

    def __init__(self, channel: socket.socket, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._socket = channel
        self._socket.setblocking(False)
        self._on_event = on_event
        self._backlog = bytearray()
        self._waiting = asyncio.Event()  # the backlog has bytes
        self._drained = asyncio.Event()  # the backlog is gone
        self._streams: dict[int, Stream] = {}
        self._next_stream = self._next_request = 1
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._error: ContainerError | None = None
        self.received = 0  # bytes, of whatever kind

    @property
    def error(self) -> ContainerError:
        """Why the channel ended."""
        return self._error or ended("it was given up")

    def open(self) -> Stream:
        """A new stream, to be named in the request that opens it at the agent."""
        while self._next_stream in self._streams:
            self._next_stream += 1
        stream = Stream(self, self._next_stream)
        self._streams[self._next_stream] = stream
        self._next_stream = self._next_stream % (wire.STREAM_AGENT_FIRST - 1) + 1
        if self._error is not None:
            stream._failed(self._error)
        return stream

    def adopt(self, number: int) -> Stream:
        """The stream that the agent opened, as it says in an event. ValueError for a number that it cannot have."""
        if number < wire.STREAM_AGENT_FIRST or number in self._streams:
            raise ValueError(f"stream {number} opened by the agent")
        stream = self._streams[number] = Stream(self, number)
        return stream

    def forget(self, stream: Stream) -> bool:
        """Drop what still arrives for a stream; whether it was known."""
        return self._streams.pop(stream.number, None) is not None

    async def hello(self) -> dict[str, Any]:
        """Say HELLO, with random bytes for the guest's pool; the agent's answer."""
        hello = {"version": wire.PROTO_VERSION, "seed": os.urandom(SEED_SIZE).hex()}
        await self._send_json(wire.KIND_HELLO, wire.STREAM_CONTROL, hello)
        return await self._hello

    async def request(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a REQUEST; the REPLY as it came."""
        number = self._next_request
        self._next_request = number % 0xFFFFFFFF + 1
        if self._error is not None:
            raise self._error
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            await self._send_json(wire.KIND_REQUEST, number, message)
            return await reply
        finally:
            del self._replies[number]
            if reply.done() and not reply.cancelled():
                reply.exception()  # seen: the sending may have failed with it already

    async def send(self, *parts: bytes | memoryview) -> None:
        """Put whole frames on their way; waits while much is waiting already."""
        while len(self._backlog) > BACKLOG and self._error is None:
            self._drained.clear()
            await self._drained.wait()
        self.send_nowait(*parts)

    def send_nowait(self, *parts: bytes | memoryview) -> None:
        """Like `send`, never waiting: for the few bytes that free the other side."""
        if self._error is not None:
            raise self._error
        sent = 0
        if not self._backlog:
            try:
                sent = self._socket.sendmsg(parts)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self.fail(ended(os.strerror(error.errno or 0)))
                raise self._error or error from error
        if sent < sum(len(part) for part in parts):
            self._backlog += b"".join(parts)[sent:]
            self._waiting.set()

    async def _send_json(self, kind: int, number: int, message: dict[str, Any]) -> None:
        try:
            frames = list(wire.encode_message(kind, number, json.dumps(message, separators=(",", ":")).encode()))
        except ValueError as error:
            raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"cannot ask the guest agent: {error}") from error
        await self.send(*frames)

    async def run(self) -> None:
        """Serve until the channel ends; then everything that waits fails with INTERRUPTED."""
        reason = ended("the other end closed it")
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write())
                await self._read()
                writer.cancel()
        except* OSError as group:
            error = group.exceptions[0]
            reason = ended(os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error))
        except* wire.WireError as group:
            reason = ContainerError(ErrorCode.INTERNAL, f"cannot understand the guest agent: {group.exceptions[0]}")
        finally:
            self.fail(reason)

    async def _read(self) -> None:
        decoder, loop = wire.Decoder(), asyncio.get_running_loop()
        while count := await loop.sock_recv_into(self._socket, decoder.buffer()):
            self.received += count
            for kind, stream, payload in decoder.frames(count):
                self._dispatch(kind, stream, payload)
            await asyncio.sleep(0)  # a socket that always has more must not keep the loop

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._waiting.wait()
            while self._backlog:
                # the backlog empties only afterwards: no frame may overtake
                count = len(self._backlog)
                await loop.sock_sendall(self._socket, bytes(self._backlog))
                del self._backlog[:count]
            self._waiting.clear()
            self._drained.set()

    def fail(self, error: ContainerError) -> None:
        """End the channel: streams, requests and later calls fail with `error`."""
        if self._error is not None:
            return
        self._error = error
        self._drained.set()
        for stream in self._streams.values():
            stream._failed(error)
        for waiting in [self._hello, *self._replies.values()]:
            if not waiting.done():
                waiting.set_exception(error)
        if self._hello.done() and not self._hello.cancelled():
            self._hello.exception()  # seen: nobody may be waiting for it

    def _dispatch(self, kind: int, number: int, payload: bytes) -> None:
        if kind in (wire.KIND_HELLO, wire.KIND_REPLY, wire.KIND_EVENT):
            self._message(kind, number, payload)
            return
        stream = self._streams.get(number)
        if stream is None:
            return
        if kind == wire.KIND_DATA:
            stream._arrived(payload)
        elif kind == wire.KIND_EOF:
            stream._ended()
        elif kind == wire.KIND_WINDOW:
            stream._granted(wire.decode_word(payload))
        else:
            why = os.strerror(wire.decode_word(payload))
            stream._failed(ContainerError(ErrorCode.INTERRUPTED, f"the guest closed the stream: {why}"))

    def _message(self, kind: int, number: int, payload: bytes) -> None:
        try:
            message = json.loads(payload)
        except ValueError as error:
            raise wire.WireError("a message is not JSON") from error
        if not isinstance(message, dict):
            raise wire.WireError("a message is not an object")
        if kind == wire.KIND_EVENT:
            try:
                self._on_event(message)
            except (TypeError, ValueError) as error:
                raise wire.WireError(f"an event is malformed: {error}") from error
            return
        waiting = self._hello if kind == wire.KIND_HELLO else self._replies.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)


def ended(why: str) -> ContainerError:
    """The channel's end as an error."""
    return ContainerError(ErrorCode.INTERRUPTED, f"the connection to the guest agent ended: {why}")
