"""What a server does about peers that it must not trust, and with the sockets it is given."""

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.ipc.client import Client
from container.ipc.framing import DESCRIPTORS_MAX, MESSAGE_MAX
from container.ipc.server import Server, inherited_socket, serve
from container.paths import Roots

from .conftest import SERVICE, Probe, ProbeHandler, no_descriptor_left, serving

NOBODY = 65534
STRANGER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    try:
        sock.sendall(b'{"method":"io.container.test.Probe.Sleep"}\\0')
        data = sock.recv(100)
    except (BrokenPipeError, ConnectionResetError):
        data = b""
    sys.exit(len(data))
"""


@asynccontextmanager
async def raw(path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 26)
    try:
        yield reader, writer
    finally:
        writer.close()


async def closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        b"not json\0",
        b"[]\0",
        b"{}\0",
        b'{"method": 3}\0',
        b'{"method":[]}\0',
        b"\xff\xfe\0",
        b"[" * 99999 + b"\0",
    ],
)
async def test_garbage_closes_that_connection_only(
    roots: Roots, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        async with raw(path) as (reader, writer), raw(path) as (other_reader, other_writer):
            writer.write(garbage)
            assert await closed(reader) == b""
            other_writer.write(json.dumps({"method": "org.varlink.service.GetInfo"}).encode() + b"\0")
            assert b"io.container.test.Probe" in await other_reader.readuntil(b"\0")
        assert await Client(path).call(Probe.Echo, text="goes on") == "goes on"
    assert "closed a connection: cannot answer a request: it is no" in caplog.text


async def test_a_message_over_the_limit_closes_the_connection_and_is_logged(
    roots: Roots, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(roots, ProbeHandler()) as (_, path), raw(path) as (reader, writer):
        writer.write(b"x" * (MESSAGE_MAX + 4096))
        assert await closed(reader) == b""
        await asyncio.sleep(0.05)
    assert f"closed a connection: cannot take a message: it is longer than {MESSAGE_MAX} bytes" in caplog.text


async def test_a_request_over_the_limit_is_not_sent(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        with pytest.raises(ContainerError, match="over the limit"):
            await Client(path).call(Probe.Echo, text="x" * MESSAGE_MAX)


async def test_too_many_calls_waiting_close_the_connection(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path), raw(path) as (reader, writer):
        writer.write(b'{"method":"io.container.test.Probe.Sleep"}\0' * 500)
        assert await closed(reader) == b""


async def test_too_many_descriptors_close_the_connection_and_all_of_them(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path), no_descriptor_left():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            for _ in range(2):
                socket.send_fds(sock, [b"{"], [0] * (DESCRIPTORS_MAX // 2 + 1))
            await asyncio.sleep(0.1)
            assert sock.recv(1) == b""


async def test_descriptors_of_a_half_sent_message_are_closed(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path), no_descriptor_left():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            socket.send_fds(sock, [b'{"method":'], [0, 1])
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)


async def test_calls_of_one_connection_are_answered_in_order(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path), raw(path) as (reader, writer):
        for index in range(30):
            call = {"method": "io.container.test.Probe.Echo", "parameters": {"text": str(index)}}
            writer.write(json.dumps(call).encode() + b"\0")
        for index in range(30):
            reply = json.loads((await reader.readuntil(b"\0"))[:-1])
            assert reply == {"parameters": {"text": str(index)}}


async def test_a_one_way_call_has_no_answer(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path), raw(path) as (reader, writer):
        writer.write(b'{"method":"io.container.test.Probe.Fail","parameters":{"code":"exists"},"oneway":true}\0')
        writer.write(b'{"method":"io.container.test.Probe.Echo","parameters":{"text":"next"}}\0')
        assert json.loads((await reader.readuntil(b"\0"))[:-1]) == {"parameters": {"text": "next"}}


async def test_the_interface_is_described(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path), raw(path) as (reader, writer):
        call = {
            "method": "org.varlink.service.GetInterfaceDescription",
            "parameters": {"interface": "io.container.test.Probe"},
        }
        writer.write(json.dumps(call).encode() + b"\0")
        text = json.loads((await reader.readuntil(b"\0"))[:-1])["parameters"]["description"]
        assert "type WindowSize (columns: int, rows: int)" in text
        assert "method Count(until: int) -> (number: ?int)" in text
        assert "# Numbers from 1; then wait for ever" in text


def _open_up(roots: Roots) -> None:
    os.chmod(roots.run, 0o755)
    os.chmod(roots.socket(SERVICE), 0o666)


def _as_nobody(*argv: str) -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs a process of another user")
async def test_a_process_of_another_uid_is_refused_and_logged(
    public_roots: Roots, caplog: pytest.LogCaptureFixture
) -> None:
    handler = ProbeHandler()
    async with serving(public_roots, handler) as (_, path):
        stranger = await asyncio.create_subprocess_exec(*_as_nobody("/usr/bin/python3", "-c", STRANGER, path))
        assert await stranger.wait() != 0, "the socket and its directory keep strangers out"
        _open_up(public_roots)
        stranger = await asyncio.create_subprocess_exec(*_as_nobody("/usr/bin/python3", "-c", STRANGER, path))
        assert await asyncio.wait_for(stranger.wait(), 10) == 0
        assert not handler.started.is_set()
        os.chmod(public_roots.run, 0o700)
        assert await Client(path).call(Probe.Echo, text="ours") == "ours"
    assert f"refused a connection of uid {NOBODY}" in caplog.text


async def test_the_socket_and_its_directory_are_private(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(roots.run).st_mode & 0o777 == 0o700


async def test_a_second_server_on_the_same_socket_is_refused_and_a_stale_one_replaced(roots: Roots) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        with pytest.raises(ContainerError, match="already running") as caught:
            await serve([], service=SERVICE, roots=roots)
        assert caught.value.code is ErrorCode.EXISTS
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    async with serving(roots, ProbeHandler()) as (_, path):
        assert await Client(path).call(Probe.Echo, text="new") == "new"


async def test_a_passed_socket_is_served_and_left_in_place(roots: Roots, tmp_path: Path) -> None:
    path = str(tmp_path / "passed")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(16)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(Client(path).call(Probe.Echo, text="before it was up"))
        await asyncio.sleep(0.05)
        async with Server([ProbeHandler()], sock, service=SERVICE):
            assert await waiting == "before it was up"
    assert Path(path).is_socket()


def test_listen_fds_of_another_process_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert inherited_socket(SERVICE) is None


async def test_a_handler_that_fails_unexpectedly_is_answered_and_logged(
    roots: Roots, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Probe):
        async def Echo(self, *, text: str) -> str:
            return str(1 // 0)

        async def Sleep(self) -> None:
            raise asyncio.CancelledError

    async with serving(roots, Broken()) as (_, path):
        with pytest.raises(
            ContainerError, match="failed by a fault of this program; `container system logs` shows it"
        ) as caught:
            await Client(path).call(Probe.Echo, text="")
        assert caught.value.code is ErrorCode.INTERNAL
        with pytest.raises(ContainerError, match="was lost"):
            await Client(path, timeout=5).call(Probe.Sleep)
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)
