"""`container.guest.wire` against `guest/include/proto.h`, and against whatever a peer may send."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.guest import wire

HEADER = Path(__file__).parents[3] / "guest" / "include" / "proto.h"
AGENT_KINDS = (wire.KIND_DATA, wire.KIND_EOF, wire.KIND_WINDOW, wire.KIND_RESET, wire.KIND_REPLY, wire.KIND_EVENT)


def test_the_constants_are_those_of_the_header() -> None:
    defined = dict(re.findall(r'^#define ([A-Z_]+) ("[^"]*"|\d+)$', HEADER.read_text(), re.MULTILINE))
    assert defined
    expected = {name: value.strip('"') if '"' in value else int(value) for name, value in defined.items()}
    mirrored = {name: value for name, value in vars(wire).items() if name.isupper() and not name.startswith("_")}
    assert mirrored == expected


frames = st.one_of(
    st.tuples(st.just(wire.KIND_DATA), st.integers(1, 2**32 - 1), st.binary(max_size=2000)),
    st.tuples(st.just(wire.KIND_EOF), st.integers(1, 2**32 - 1), st.just(b"")),
    st.tuples(
        st.sampled_from([wire.KIND_WINDOW, wire.KIND_RESET]),
        st.integers(1, 2**32 - 1),
        st.binary(min_size=4, max_size=4),
    ),
    st.tuples(st.just(wire.KIND_REPLY), st.integers(0, 2**32 - 1), st.binary(max_size=500)),
    st.tuples(st.just(wire.KIND_EVENT), st.just(0), st.binary(max_size=500)),
)


@given(st.lists(frames, max_size=20), st.lists(st.integers(1, 300), min_size=1, max_size=50))
def test_frames_survive_any_cutting_of_the_stream(sent: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    data = b"".join(wire.encode(*frame) for frame in sent)
    decoder = wire.Decoder(size=0)
    received = []
    for cut in cuts * (len(data) + 1):
        piece, data = data[:cut], data[cut:]
        received += decoder.feed(piece)
        if not data:
            break
    received += decoder.feed(data)
    assert received == sent


@given(st.binary(max_size=4 * wire.WINDOW_INITIAL // 1024))
@settings(max_examples=300)
def test_garbage_is_frames_or_a_wire_error(data: bytes) -> None:
    try:
        for kind, _, payload in wire.Decoder().feed(data):
            assert kind in AGENT_KINDS or kind == wire.KIND_HELLO
            assert len(payload) <= len(data)
    except wire.WireError:
        pass


@given(st.integers(0, 3 * wire.FRAME_PAYLOAD_MAX))
@settings(max_examples=30, deadline=None)
def test_a_message_survives_being_sent_in_parts(length: int) -> None:
    text = bytes(range(256)) * (length // 256 + 1)
    data = b"".join(wire.encode_message(wire.KIND_REPLY, 7, text[:length]))
    assert list(wire.Decoder().feed(data)) == [(wire.KIND_REPLY, 7, text[:length])]


def test_a_message_past_the_limit_is_neither_sent_nor_taken() -> None:
    with pytest.raises(ValueError, match="too long"):
        list(wire.encode_message(wire.KIND_REQUEST, 1, bytes(wire.MESSAGE_MAX + 1)))
    part = wire.encode(wire.KIND_PART, 1, bytes(wire.FRAME_PAYLOAD_MAX))
    decoder = wire.Decoder()
    for _ in range(wire.MESSAGE_MAX // wire.FRAME_PAYLOAD_MAX):
        assert list(decoder.feed(part)) == []
    with pytest.raises(wire.WireError, match="message is too long"):
        list(decoder.feed(part))


@pytest.mark.parametrize(
    ("kind", "stream", "length"),
    [
        (wire.KIND_DATA, 0, 1),
        (wire.KIND_DATA, 1, wire.FRAME_PAYLOAD_MAX + 1),
        (wire.KIND_EOF, 1, 1),
        (wire.KIND_WINDOW, 1, 8),
        (wire.KIND_RESET, 0, 4),
        (wire.KIND_HELLO, 1, 2),
        (wire.KIND_EVENT, 1, 2),
        (wire.KIND_REQUEST, 1, 2),
        (0, 0, 0),
        (255, 0, 0),
    ],
)
def test_a_header_that_no_agent_may_send_is_refused_before_its_payload(kind: int, stream: int, length: int) -> None:
    with pytest.raises(wire.WireError):
        list(wire.Decoder().feed(wire.header(kind, stream, length)))
