"""Published ports: traffic of host sockets, TCP and UDP, moved by the C program `container-relay`.

with bind_ports(configuration.published_ports) as ports:
    …boot, attach…
    async with start_relay(ports, ipv4="192.168.64.2", ipv6=None, netns=fd, userns=fd):
        …
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator

from container.errors import ContainerError, ErrorCode, internal, invalid_state
from container.linux import native
from container.linux.ports import BoundPorts

MAX_CONNECTIONS, MAX_SESSIONS = 4096, 1024  # a session: one client of a UDP port
SESSION_IDLE = 90.0  # seconds without a datagram, after which a session ends
READY_TIMEOUT = 10.0
STOP_TIMEOUT = 2.0
RESTART_DELAY = 0.2  # seconds
# Packet marks inside a network: of connections in a client's name, and of the answers to them, which the network's
# rules recognise as such.
MARK_CALL, MARK_ANSWER = 1, 2
_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def start_relay(
    ports: BoundPorts,
    *,
    ipv4: str,
    ipv6: str | None,
    netns: int,
    userns: int | None,
    near: Iterable[str] | None = None,
    max_connections: int = MAX_CONNECTIONS,
    max_sessions: int = MAX_SESSIONS,
    session_idle: float = SESSION_IDLE,
) -> AsyncIterator["Relay"]:
    """Listen on `ports`, and relay what comes to `ipv4` or `ipv6` (without prefix length) by sockets made in `netns`.

    With `near`, the container's own subnets in CIDR notation, it sees the addresses of clients that are neither there
    nor on the host's loopback; the network must have the rules for MARK_CALL and MARK_ANSWER. All others, and all
    without `near`, have the gateway's address.

    The ports are closed in the end; descriptors stay the caller's. Without ports no process is made. The relay dies
    with this process. Raises ContainerError.
    """
    if ports.needs_ipv6 and ipv6 is None:
        raise invalid_state(
            "cannot configure IPv6 port forwarding for container with unknown IPv6 address; publish at an IPv4 address"
        )
    descriptors = [netns] if userns is None else [netns, userns]
    options = ["--max", str(max_connections), "--sessions", str(max_sessions)]
    options += ["--idle", str(round(session_idle * 1000)), "--netns", str(netns)]
    options += [] if userns is None else ["--userns", str(userns)]
    if near is not None:
        options += ["--mark", str(MARK_CALL), "--answers", str(MARK_ANSWER), *(f"--near={subnet}" for subnet in near)]
    with ports:
        relay = Relay(ports, b"".join(_rows(ports, ipv4, ipv6)), options, descriptors)
        if ports.sockets:
            await relay.start()
        try:
            yield relay
        finally:
            await relay.stop()


class Relay:
    """A relay process, and what another one needs to take its place."""

    def __init__(self, ports: BoundPorts, table: bytes, options: list[str], descriptors: list[int]) -> None:
        self._ports, self._table = ports, table
        self._options, self._descriptors = options, descriptors
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None when there was no port to relay."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process; returns when it serves. Raises ContainerError."""
        self._ports.listen()
        process = await self._spawn()
        try:
            await _hand_table(process, self._table)
        except BaseException:
            await _stop(process)
            raise
        self._process = process

    async def keep(self) -> None:
        """Start another one whenever it ends, which it does only by a fault. Until cancelled.

        Clients wait meanwhile: the sockets go on listening.
        """
        while self._process is not None:
            last_words = await _end_of(self._process)
            _log.warning("the port relay ended: %s; starting another one", last_words)
            while self._process.returncode is not None:
                try:
                    await self.start()
                except ContainerError as error:
                    _log.error("%s", error)
                    await asyncio.sleep(RESTART_DELAY)

    async def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            await _stop(self._process)

    async def _spawn(self) -> asyncio.subprocess.Process:
        program = native.program("container-relay")
        try:
            return await asyncio.create_subprocess_exec(
                program,
                *self._options,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=[*self._descriptors, *(sock.fileno() for sock, _ in self._ports.sockets)],
                env={"PATH": os.defpath},
            )
        except OSError as error:
            raise native.start_error(program, error) from error


def _rows(ports: BoundPorts, ipv4: str, ipv6: str | None) -> Iterator[bytes]:
    """The table of container-relay: `tcp|udp <fd> <address> <port>` lines, ended by an empty one."""
    for sock, container_port in ports.sockets:
        target = ipv6 if sock.family == socket.AF_INET6 else ipv4
        proto = "udp" if sock.type == socket.SOCK_DGRAM else "tcp"
        yield f"{proto} {sock.fileno()} {target} {container_port}\n".encode()
    yield b"\n"


async def _hand_table(process: asyncio.subprocess.Process, table: bytes) -> None:
    """Give the relay its table and wait until it is inside the namespace; its stdin stays open as its lifeline."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            with contextlib.suppress(ConnectionError):  # the relay says why on its output
                process.stdin.write(table)
                await process.stdin.drain()
            reason = (await process.stdout.readline()).decode(errors="replace").strip()
    except TimeoutError as error:
        raise ContainerError(
            ErrorCode.TIMEOUT, f"the port relay did not get ready within {READY_TIMEOUT:.0f} s"
        ) from error
    if reason != "ready":
        raise internal(f"the port relay did not start: {reason or 'it ended without a word'}")


async def _end_of(process: asyncio.subprocess.Process) -> str:
    """Wait for the end; returns what it said of the reason, else its status."""
    assert process.stdout is not None
    status = await process.wait()
    return (await process.stdout.read()).decode(errors="replace").strip() or f"status {status}"


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
