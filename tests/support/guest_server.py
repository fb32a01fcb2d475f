"""A server for relay tests: `guest_server.py ADDRESS` serves one behaviour a port, and prints `ready`.

7000 echo   7001 digest of what came, after the end of file   7002 100 MB, then the end   7003 accepts and resets
7004 end of file at once, then the digest of what came on the next connection to 7005   7006 reads nothing
UDP: 7000 the sender's port and what it sent   7001 what it sent, 10 times
"""

import asyncio
import hashlib
import socket
import struct
import sys

SIZE = 100_000_000
BLOCK = hashlib.sha256(b"guest").digest() * 2048

_half: asyncio.Queue[bytes]
_forever: asyncio.Future[None]


async def _digest(reader: asyncio.StreamReader) -> bytes:
    digest, size = hashlib.sha256(), 0
    while data := await reader.read(1 << 18):
        digest.update(data)
        size += len(data)
    return f"{size} {digest.hexdigest()}".encode()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await _digest(reader))


async def source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sent = 0
    while sent < SIZE:
        block = BLOCK[: SIZE - sent]
        writer.write(block)
        sent += len(block)
        await writer.drain()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def end_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write_eof()
    _half.put_nowait(await _digest(reader))


async def report(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await _half.get())


async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.shield(_forever)


class Datagrams(asyncio.DatagramProtocol):
    """Answers `times` times."""

    def __init__(self, times: int, tell: bool) -> None:
        self._times, self._tell = times, tell

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        answer = b"%d " % peer[1] + data if self._tell else data
        for _ in range(self._times):
            self._transport.sendto(answer, peer)  # type: ignore[attr-defined]


async def main(address: str) -> None:
    global _half, _forever
    _half, _forever = asyncio.Queue(), asyncio.get_running_loop().create_future()

    def closing(behaviour):  # type: ignore[no-untyped-def]
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await behaviour(reader, writer)
                writer.close()
            except ConnectionError:
                writer.close()

        return serve

    for port, behaviour in enumerate((echo, digest, source, reset, end_first, report, stuck), 7000):
        limit = 4096 if behaviour is stuck else 1 << 18
        await asyncio.start_server(closing(behaviour), address, port, limit=limit, backlog=512)
    loop = asyncio.get_running_loop()
    for port, times, tell in ((7000, 1, True), (7001, 10, False)):
        await loop.create_datagram_endpoint(lambda n=times, t=tell: Datagrams(n, t), (address, port))  # type: ignore[misc]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await _forever


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
