"""Frames of the agent's channel: the mirror of `guest/include/proto.h`, which says what each kind means.

Nothing here does I/O: `encode` makes a frame, `Decoder` cuts a byte stream into frames and checks each header before it
is used.
"""

import struct
from collections.abc import Iterator

from container.errors import ContainerError, ErrorCode

PROTO_VERSION = 1
PROTO_PORT_NAME = "io.container.agent"

FRAME_HEADER_SIZE = 12
FRAME_PAYLOAD_MAX = 65536
MESSAGE_MAX = 4194304
WINDOW_INITIAL = 1048576
WINDOW_MAX = 16777216
STREAM_CONTROL = 0
STREAM_AGENT_FIRST = 2147483648

KIND_HELLO = 1
KIND_REQUEST = 2
KIND_REPLY = 3
KIND_EVENT = 4
KIND_DATA = 5
KIND_EOF = 6
KIND_WINDOW = 7
KIND_RESET = 8
KIND_PART = 9

_HEADER = struct.Struct("<IIB3s")
_WORD = struct.Struct("<I")
_ZERO = b"\0\0\0"


class WireError(ContainerError):
    """The peer broke the protocol; the channel is of no more use."""

    def __init__(self, why: str) -> None:
        super().__init__(ErrorCode.INTERNAL, f"the guest agent broke the protocol: {why}")


def header(kind: int, stream: int, length: int) -> bytes:
    """The 12 bytes before a payload of `length` bytes."""
    return _HEADER.pack(length, stream, kind, _ZERO)


def encode(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame. ValueError when the payload is too long."""
    if len(payload) > FRAME_PAYLOAD_MAX:
        raise ValueError("frame payload too long")
    return header(kind, stream, len(payload)) + payload


def encode_message(kind: int, stream: int, text: bytes) -> Iterator[bytes]:
    """The frames of a message: PARTs, then one of `kind`. ValueError past MESSAGE_MAX."""
    if len(text) > MESSAGE_MAX:
        raise ValueError("message too long")
    while len(text) > FRAME_PAYLOAD_MAX:
        yield encode(KIND_PART, stream, text[:FRAME_PAYLOAD_MAX])
        text = text[FRAME_PAYLOAD_MAX:]
    yield encode(kind, stream, text)


def encode_word(kind: int, stream: int, value: int) -> bytes:
    """A WINDOW (credit) or RESET (errno) frame."""
    return encode(kind, stream, _WORD.pack(value))


def decode_word(payload: bytes) -> int:
    """The value of a WINDOW or RESET payload."""
    value: int = _WORD.unpack(payload)[0]
    return value


def check(kind: int, stream: int, length: int, padding: bytes) -> None:
    """WireError unless an agent may send such a header."""
    if padding != _ZERO:
        raise WireError("a frame's padding is not zero")
    if length > FRAME_PAYLOAD_MAX:
        raise WireError(f"a frame has {length} bytes")
    if kind in (KIND_HELLO, KIND_EVENT):
        valid = stream == STREAM_CONTROL
    elif kind in (KIND_REPLY, KIND_PART):
        valid = True
    elif kind == KIND_DATA:
        valid = stream != STREAM_CONTROL
    elif kind == KIND_EOF:
        valid = stream != STREAM_CONTROL and length == 0
    elif kind in (KIND_WINDOW, KIND_RESET):
        valid = stream != STREAM_CONTROL and length == _WORD.size
    else:
        raise WireError(f"a frame has the unknown kind {kind}")
    if not valid:
        raise WireError(f"a frame of kind {kind} has stream {stream} and length {length}")


class Decoder:
    """Bytes in, frames out.

    Read into `buffer()`, tell `frames(count)` how much; it yields `(kind, stream, payload)` of each frame completed.
    REPLY and EVENT come whole, their PARTs joined.
    """

    def __init__(self, size: int = 4 * FRAME_PAYLOAD_MAX) -> None:
        self._bytes = bytearray(max(size, FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX))
        self._view = memoryview(self._bytes)
        self._start = self._end = 0
        self._parts = bytearray()

    def buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start and len(self._bytes) - self._end < FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX:
            kept = self._end - self._start
            self._bytes[:kept] = self._bytes[self._start : self._end]
            self._start, self._end = 0, kept
        return self._view[self._end :]

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Frames completed by `data`: for those who have bytes, not a socket."""
        while data:
            room = self.buffer()
            taken = min(len(room), len(data))
            room[:taken] = data[:taken]
            yield from self.frames(taken)
            data = data[taken:]

    def frames(self, count: int) -> Iterator[tuple[int, int, bytes]]:
        """Frames completed by `count` bytes that were put into `buffer()`. WireError: the stream is broken."""
        self._end += count
        while self._end - self._start >= FRAME_HEADER_SIZE:
            length, stream, kind, padding = _HEADER.unpack_from(self._bytes, self._start)
            check(kind, stream, length, padding)
            body = self._start + FRAME_HEADER_SIZE
            if self._end - body < length:
                return
            self._start = body + length
            payload = bytes(self._view[body : body + length])
            if kind in (KIND_PART, KIND_REPLY, KIND_EVENT):
                joined = self._join(kind, payload)
                if joined is None:
                    continue
                payload = joined
            yield kind, stream, payload

    def _join(self, kind: int, payload: bytes) -> bytes | None:
        if len(self._parts) + len(payload) > MESSAGE_MAX:
            raise WireError("a message is too long")
        if kind == KIND_PART:
            self._parts += payload
            return None
        if not self._parts:
            return payload
        self._parts += payload
        whole = bytes(self._parts)
        self._parts = bytearray()
        return whole
