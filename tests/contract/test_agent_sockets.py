"""Unix sockets between the guest and the host, through the real agent."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support import peer

from container.errors import ContainerError, ErrorCode
from container.guest.client import GuestClient
from container.guest.mux import Stream
from container.guest.spec import ContainerSpec, RootfsSpec
from container.guest.splice import splice
from container.model.mount import Mount

from .conftest import Connect, output_of, process

SIZE = 20 << 20
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(path: Path, serve: Serve) -> AsyncIterator[None]:
    """A server on a unix socket."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_unix_server(handle, str(path)):
        yield


@asynccontextmanager
async def joined(client: GuestClient, path: Path) -> AsyncIterator[socket.socket]:
    """A host's connection that is spliced to a socket of the guest; what is left of it ends with the context."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    task = asyncio.create_task(splice(await client.connect_socket(str(path)), theirs))
    with ours:
        yield ours
    await asyncio.wait_for(task, 10)


async def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while piece := await asyncio.get_running_loop().sock_recv(sock, 1 << 18):
        data += piece
    return bytes(data)


async def test_the_host_talks_to_a_socket_of_the_guest(plain: Connect, tmp_path: Path) -> None:
    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data.upper())
            await writer.drain()

    async with plain() as client, serving(tmp_path / "s", upper), joined(client, tmp_path / "s") as sock:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"hello")
        assert await loop.sock_recv(sock, 100) == b"HELLO"
        sock.shutdown(socket.SHUT_WR)
        assert await read_all(sock) == b""


async def test_the_answer_comes_after_the_end_of_the_question(plain: Connect, tmp_path: Path) -> None:
    async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = hashlib.sha256()
        while data := await reader.read(1 << 16):
            found.update(data)
        writer.write(found.hexdigest().encode())
        await writer.drain()

    async with plain() as client, serving(tmp_path / "s", digest), joined(client, tmp_path / "s") as sock:
        data = os.urandom(1 << 20) * (SIZE >> 20)
        await asyncio.get_running_loop().sock_sendall(sock, data)
        sock.shutdown(socket.SHUT_WR)
        assert await read_all(sock) == hashlib.sha256(data).hexdigest().encode()


async def test_much_comes_to_a_slow_reader_while_others_are_served(plain: Connect, tmp_path: Path) -> None:
    async def source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(bytes(SIZE))
        await writer.drain()

    async with plain() as client, serving(tmp_path / "s", source):
        loop = asyncio.get_running_loop()
        async with joined(client, tmp_path / "s") as slow, joined(client, tmp_path / "s") as quick:
            await loop.sock_sendall(slow, b".")
            await asyncio.sleep(0.2)
            await loop.sock_sendall(quick, b".")
            assert len(await read_all(quick)) == SIZE
            assert len(await read_all(slow)) == SIZE


async def test_a_server_that_closes_without_reading_is_heard(plain: Connect, tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"no")
        await writer.drain()

    async with plain() as client, serving(tmp_path / "s", refuse), joined(client, tmp_path / "s") as sock:
        loop = asyncio.get_running_loop()
        assert await _send_until_broken(loop, sock) > 0
        assert await loop.sock_recv(sock, 100) == b"no"
        with contextlib.suppress(ConnectionResetError):  # as on one machine: bytes were left unread
            assert await loop.sock_recv(sock, 100) == b""


async def _send_until_broken(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> int:
    sent = 0
    try:
        while True:
            await asyncio.wait_for(loop.sock_sendall(sock, bytes(1 << 16)), 10)
            sent += 1 << 16
    except (BrokenPipeError, ConnectionResetError):
        return sent


async def test_an_idle_server_that_goes_away_ends_the_connection(plain: Connect, tmp_path: Path) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return

    async with plain() as client, serving(tmp_path / "s", leave), joined(client, tmp_path / "s") as sock:
        assert await asyncio.wait_for(read_all(sock), 5) == b""
        assert await _send_until_broken(asyncio.get_running_loop(), sock) >= 0


async def test_a_host_that_goes_away_ends_the_connection_in_the_guest(plain: Connect, tmp_path: Path) -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.set_result(await reader.read())

    async with plain() as client, serving(tmp_path / "s", wait):
        async with joined(client, tmp_path / "s") as sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"bye")
        assert await asyncio.wait_for(ended, 5) == b"bye"


async def test_a_socket_that_is_not_there(plain: Connect, tmp_path: Path) -> None:
    async with plain() as client:
        with pytest.raises(ContainerError, match="No such file or directory") as caught:
            await client.connect_socket(str(tmp_path / "none"))
        assert caught.value.code is ErrorCode.NOT_FOUND
        (tmp_path / "file").touch()
        with pytest.raises(ContainerError, match=f"failed to connect to {tmp_path}/file"):
            await client.connect_socket(str(tmp_path / "file"))
        with pytest.raises(ContainerError, match="cannot connect"):
            await client.connect_socket("relative")


@asynccontextmanager
async def listening(client: GuestClient, state: Path, serve: Serve, host: Path) -> AsyncIterator[Path]:
    """A socket of the guest whose connections go to a server on the host; its path."""
    async with asyncio.TaskGroup() as tasks:

        async def forward(stream: Stream) -> None:
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, str(host))
            await splice(stream, connection)

        await client.listen("agent", lambda stream: tasks.create_task(forward(stream)))
        async with serving(host, serve):
            yield state / "socket-agent"


async def test_the_guest_talks_to_a_server_of_the_host(plain: Connect, tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()

    async with plain() as client, listening(client, tmp_path / "state0", echo, tmp_path / "h") as path:
        assert os.stat(path).st_mode & 0o777 == 0o666

        async def talk(number: int) -> None:
            reader, writer = await asyncio.open_unix_connection(str(path))
            data = os.urandom(200_000 + number)
            writer.write(data)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 20) == data
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(talk(number) for number in range(100)))


async def test_a_listener_is_made_once(plain: Connect) -> None:
    async with plain() as client:
        await client.listen("a", lambda stream: stream.close())
        with pytest.raises(ContainerError, match="listener a exists already"):
            await client.listen("a", lambda stream: stream.close())
        for bad in ("", "../x", "a/b", "x" * 64):
            with pytest.raises(ContainerError, match="invalid listener"):
                await client.listen(bad, lambda stream: stream.close())


async def test_more_connections_than_there_may_be_wait_for_their_turn(plain: Connect, tmp_path: Path) -> None:
    most, waiting = 256, 40
    arrived: asyncio.Queue[Stream] = asyncio.Queue()
    async with plain() as client, asyncio.timeout(60):
        await client.listen("a", arrived.put_nowait)
        path = str(tmp_path / "state0" / "socket-a")
        # one after the other: a full backlog refuses
        served = [(await asyncio.open_unix_connection(path), await arrived.get()) for _ in range(most)]
        queued = [await asyncio.open_unix_connection(path) for _ in range(waiting)]
        await client.statistics()  # it has looked at everything since
        assert arrived.empty()
        for (reader, writer), stream in served:
            stream.close()
            assert await reader.read() == b""
            writer.close()
        for _ in range(waiting):
            await arrived.get()
        for _, writer in queued:
            writer.close()


@pytest.mark.skipif(not shutil.which("cc"), reason="needs cc")
async def test_sockets_on_a_containers_own_mounts(isolated: Connect, busybox_root: Path, tmp_path: Path) -> None:
    program = busybox_root / "bin" / "peer"
    program.write_bytes(peer.program())
    program.chmod(0o755)
    mounts = [Mount("tmpfs", "tmpfs", "/run"), Mount("socket", "agent", "/run/host/agent.sock")]
    spec = ContainerSpec(hostname="test", mounts=mounts, read_only=True)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello " + await reader.read())

    async with isolated() as client, listening(client, tmp_path / "state0", greet, tmp_path / "h"):
        await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        await client.start_init("c", process("peer", "upper", "/run/up.sock"), spec)
        script = "ls -l /run/host/agent.sock | cut -c1-10; printf guest | peer unix /run/host/agent.sock"
        assert await output_of(client, "sh", "-c", script) == (0, "srw-rw-rw-\nhello guest")
        async with joined(client, Path("/run/up.sock")) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"inside")
            sock.shutdown(socket.SHUT_WR)
            assert await read_all(sock) == b"INSIDE"
        with pytest.raises(ContainerError, match="failed to connect to /run/none in the container"):
            await client.connect_socket("/run/none")
