"""Requests, good and bad, to the real agent."""

import asyncio
import errno
import json
import socket
from collections.abc import Callable

import pytest

from container.errors import ContainerError, ErrorCode
from container.guest import wire
from container.guest.process import GuestError
from container.guest.spec import ContainerSpec

from .conftest import Connect, process

SPEC = ContainerSpec(hostname="test")
Start = Callable[..., socket.socket]


def test_a_request_is_answered_whatever_it_is(agent_socket: Start) -> None:
    channel = agent_socket("--plain")
    channel.settimeout(20)
    for number, text in enumerate([b"{}", b"[1]", b"no json", b'{"op":"no.such"}', b'{"op":7}', b""], start=1):
        channel.sendall(wire.encode(wire.KIND_REQUEST, number, text))
        kind, stream, payload = next(_frames(channel))
        assert (kind, stream) == (wire.KIND_REPLY, number)
        assert json.loads(payload)["error"]["code"] in ("invalidArgument", "unsupported")


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff\xff" + bytes(8),
        wire.header(wire.KIND_DATA, 0, 1),
        wire.header(99, 1, 0),
        wire.header(wire.KIND_EOF, 1, 5),
        wire.header(wire.KIND_WINDOW, 1, 3),
        wire.header(wire.KIND_REQUEST, 1, 5)[:9] + b"xyz",
        wire.header(wire.KIND_REPLY, 1, 0),
    ],
)
def test_a_broken_frame_ends_the_channel(agent_socket: Start, frame: bytes) -> None:
    channel = agent_socket("--plain")
    channel.settimeout(20)
    channel.sendall(frame)
    assert channel.recv(100) == b""


def test_a_message_past_the_limit_ends_the_channel(agent_socket: Start) -> None:
    channel = agent_socket("--plain")
    channel.settimeout(20)
    part = wire.encode(wire.KIND_PART, 1, bytes(wire.FRAME_PAYLOAD_MAX))
    with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
        for _ in range(wire.MESSAGE_MAX // wire.FRAME_PAYLOAD_MAX + 10):
            channel.sendall(part)


def test_frames_of_unknown_streams_are_dropped(agent_socket: Start) -> None:
    channel = agent_socket("--plain")
    channel.settimeout(20)
    for frame in (
        wire.encode(wire.KIND_DATA, 77, b"lost"),
        wire.encode(wire.KIND_EOF, 77),
        wire.encode_word(wire.KIND_WINDOW, 77, 5),
        wire.encode_word(wire.KIND_RESET, 77, 5),
        wire.encode(wire.KIND_HELLO, 0, b'{"version":1}'),
    ):
        channel.sendall(frame)
    assert next(_frames(channel))[0] == wire.KIND_HELLO


def test_a_writer_past_its_credit_is_reset(agent_socket: Start) -> None:
    channel = agent_socket("--plain")
    channel.settimeout(20)
    request = {
        "op": "process.start",
        "id": "p",
        "process": {"executable": "sleep", "arguments": ["60"], "environment": ["PATH=/bin:/usr/bin"]},
        "container": {},
        "streams": {"stdin": 5},
    }
    channel.sendall(wire.encode(wire.KIND_REQUEST, 1, json.dumps(request).encode()))
    frames = _frames(channel)
    assert "pid" in json.loads(next(frames)[2])["result"]
    # the pipe takes as much as the window: only what goes past both is too much
    for _ in range(2 * wire.WINDOW_INITIAL // 65536 + 2):
        channel.sendall(wire.encode(wire.KIND_DATA, 5, bytes(65536)))
    while (frame := next(frames))[0] == wire.KIND_WINDOW:
        pass
    assert frame[:2] == (wire.KIND_RESET, 5)


async def test_a_long_request_travels_in_parts(plain: Connect) -> None:
    value = "x" * 100_000
    async with plain() as client:
        command = "test ${#LONG1} -eq 100000 -a ${#LONG2} -eq 100000"
        env = ["PATH=/usr/bin:/bin", f"LONG1={value}", f"LONG2={value}"]
        started = await client.start_init("p", process("sh", "-c", command, env=env), SPEC)
        assert await started.wait() == 0


@pytest.mark.parametrize(
    ("command", "exit_code", "words"),
    [
        ("no-such-program", 127, "executable file not found in $PATH"),
        ("/no/such/program", 127, "No such file or directory"),
        ("/etc/passwd", 126, "Permission denied"),
        ("/etc", 126, "Permission denied"),
    ],
)
async def test_a_program_that_cannot_run_fails_the_start(
    plain: Connect, command: str, exit_code: int, words: str
) -> None:
    async with plain() as client:
        with pytest.raises(GuestError) as caught:
            await client.start_init("p", process(command), SPEC)
        assert caught.value.exit_code == exit_code
        assert command in caught.value.message
        assert words in caught.value.message
        # and the name is free again
        started = await client.start_init("p", process("true"), SPEC)
        assert await started.wait() == 0


async def test_a_missing_working_directory_fails_the_start(plain: Connect) -> None:
    async with plain() as client:
        with pytest.raises(GuestError, match="failed to enter the working directory /no/where: No such file"):
            await client.start_init("p", process("true", working_directory="/no/where"), SPEC)


async def test_an_exec_needs_a_running_container(plain: Connect) -> None:
    async with plain() as client:
        with pytest.raises(GuestError, match="the container is not running") as caught:
            await client.start_exec("e", process("true"))
        assert caught.value.code is ErrorCode.INVALID_STATE


async def test_a_process_id_is_used_once_at_a_time(plain: Connect) -> None:
    async with plain() as client:
        await client.start_init("p", process("sleep", "60"), SPEC)
        with pytest.raises(ContainerError, match="process p exists already"):
            await client.start_exec("p", process("true"))
        with pytest.raises(GuestError, match="the container runs already"):
            await client.start_init("q", process("true"), SPEC)


async def test_many_processes_at_once(plain: Connect) -> None:
    async with plain() as client:
        await client.start_init("p", process("sleep", "60"), SPEC)

        async def one(number: int) -> int:
            started = await client.start_exec(f"e{number}", process("sh", "-c", f"echo {number}; exit {number}"))
            assert started.stdout is not None
            assert await started.stdout.read() == b"%d\n" % number
            return await started.wait()

        codes = await asyncio.gather(*(one(number) for number in range(40)))
        assert codes == list(range(40))


async def test_a_call_has_a_deadline(agent_socket: Start) -> None:
    host, silent = socket.socketpair()
    from container.guest.client import GuestClient

    with host, silent, pytest.raises(ContainerError, match=r"did not answer hello within 0\.1 s") as caught:
        async with GuestClient.connect(host, timeout=0.1):
            pass
    assert caught.value.code is ErrorCode.TIMEOUT


def _frames(channel: socket.socket):  # type: ignore[no-untyped-def]
    decoder = wire.Decoder()
    while data := channel.recv(65536):
        yield from decoder.feed(data)


async def test_the_kernel_log_is_text_with_levels(plain: Connect) -> None:
    async with plain() as client:
        try:
            text = await client.kernel_log()
        except GuestError as error:
            if error.errno != errno.EPERM:  # it is the host's, and not for everybody
                raise
        else:
            assert text == "" or text.startswith("<")
