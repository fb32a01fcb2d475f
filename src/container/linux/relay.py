"""Published ports, TCP and UDP: host sockets bound here, traffic moved by the C program `container-relay`.

Two steps, so that a port in use is known before a VM boots, and nothing listens before the container can answer:

    with bind_ports(configuration.published_ports) as ports:
        …boot, attach…
        async with start_relay(ports, ipv4="192.168.64.2", ipv6=None, netns=fd, userns=fd):
            …
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Protocol

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, invalid_state
from container.linux import native

MAX_CONNECTIONS, MAX_SESSIONS = 4096, 1024  # a session: one client of a UDP port
SESSION_IDLE = 90.0  # seconds without a datagram, after which a session ends
READY_TIMEOUT = 10.0
STOP_TIMEOUT = 2.0
BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn


_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Port(Protocol):
    """What is asked of a `model.port.PublishPort`."""

    @property
    def host_address(self) -> str: ...
    @property
    def host_port(self) -> int: ...
    @property
    def container_port(self) -> int: ...
    @property
    def proto(self) -> str: ...
    @property
    def count(self) -> int: ...


class BoundPorts:
    """Host sockets that are bound and do not listen yet, with the container port of each; closing it frees them."""

    def __init__(self) -> None:
        self.sockets: list[tuple[socket.socket, int]] = []

    def __enter__(self) -> "BoundPorts":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every socket; may be called again."""
        while self.sockets:
            self.sockets.pop()[0].close()

    @property
    def needs_ipv6(self) -> bool:
        """Whether a socket is bound to an IPv6 host address, whose traffic goes to the container's IPv6 address."""
        return any(sock.family == socket.AF_INET6 for sock, _ in self.sockets)


def bind_ports(ports: Iterable[Port]) -> BoundPorts:
    """Reserve the host ports of `ports`.

    Raises ContainerError: `invalidArgument` for an address that is none, `unsupported` for a protocol that is neither
    tcp nor udp, `invalidState` for a port in use or forbidden, `internalError` for the rest; nothing stays bound then.
    """
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(BoundPorts())
        for port in ports:
            if port.proto not in _TYPES:
                raise ContainerError(
                    ErrorCode.UNSUPPORTED,
                    f"cannot publish host port {port.host_port}: protocol {port.proto} is neither tcp nor udp",
                )
            for offset in range(port.count):
                sock = _bind(port.host_address, port.host_port + offset, port.proto)
                bound.sockets.append((sock, port.container_port + offset))
        stack.pop_all()
        return bound


def _bind(address: str, port: int, proto: str) -> socket.socket:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise invalid_argument(f"cannot publish host port {port}: {address!r} is no IP address") from error
    with contextlib.ExitStack() as stack:
        try:
            family = socket.AF_INET6 if version == 6 else socket.AF_INET
            sock = stack.enter_context(socket.socket(family, _TYPES[proto] | socket.SOCK_CLOEXEC))
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _reserve(sock, address, port)
        except OSError as error:
            raise _bind_error(error, address, port) from error
        stack.pop_all()
        return sock


def _reserve(sock: socket.socket, address: str, port: int) -> None:
    """Bind exclusively, but past TIME_WAIT connections of an earlier run.

    Two sockets with SO_REUSEADDR that do not listen may share a port (ip(7)), which would find out about a port in
    use only when the VM has booted. So bind without it first. When that fails, TIME_WAIT may be the reason: bind with
    it, and try to listen for a moment, which fails where another socket listens.
    """
    try:
        sock.bind((address, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE or sock.type != socket.SOCK_STREAM:
            raise
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(0)
        sock.shutdown(socket.SHUT_RD)  # stops listening, keeps the port


def _bind_error(error: OSError, address: str, port: int) -> ContainerError:
    if error.errno in (errno.EACCES, errno.EPERM) and port < 1024:
        return invalid_state(
            f"Permission denied while binding to host port {port}. "
            "Binding to ports below 1024 requires root privileges.",
        )
    if error.errno == errno.EADDRINUSE:
        return invalid_state(
            f"cannot publish host port {port}: address {_endpoint(address, port)} is already in use; "
            "stop what listens there or publish another port",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return invalid_argument(f"cannot publish host port {port}: this host has no address {address}")
    return internal(f"cannot publish host port {port}: binding to {_endpoint(address, port)} failed: {error.strerror}")


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@contextlib.asynccontextmanager
async def start_relay(
    ports: BoundPorts,
    *,
    ipv4: str,
    ipv6: str | None,
    netns: int,
    userns: int | None,
    max_connections: int = MAX_CONNECTIONS,
    max_sessions: int = MAX_SESSIONS,
    session_idle: float = SESSION_IDLE,
) -> AsyncIterator["Relay"]:
    """Listen on `ports`, and relay what comes to `ipv4` or `ipv6` (without prefix length) by sockets made in `netns`.

    The sockets go over to the relay: they are closed here, and freed when the relay ends. Descriptors stay the
    caller's. Without ports no process is made. The relay dies with this process. Raises ContainerError.
    """
    if ports.needs_ipv6 and ipv6 is None:
        raise invalid_state("cannot configure IPv6 port forwarding for container with unknown IPv6 address")
    if not ports.sockets:
        yield Relay(None)
        return
    with ports:
        table = b"".join(_rows(ports, ipv4, ipv6))
        limits = ["--max", str(max_connections), "--sessions", str(max_sessions)]
        limits += ["--idle", str(round(session_idle * 1000))]
        process = await _spawn(ports, netns, userns, limits)
        try:
            await _hand_table(process, table)
        except BaseException:
            await _stop(process)
            raise
    try:
        yield Relay(process)
    finally:
        await _stop(process)


class Relay:
    """A running relay."""

    def __init__(self, process: asyncio.subprocess.Process | None) -> None:
        self._process = process

    @property
    def pid(self) -> int | None:
        """Process id; None when there was no port to relay."""
        return None if self._process is None else self._process.pid

    async def wait(self) -> None:
        """Return when the relay has ended, which it does only by a fault; never without ports."""
        if self._process is None:
            await asyncio.get_running_loop().create_future()
        else:
            await self._process.wait()


def _rows(ports: BoundPorts, ipv4: str, ipv6: str | None) -> Iterator[bytes]:
    """The table of container-relay: `tcp|udp <fd> <address> <port>` lines, ended by an empty one."""
    for sock, container_port in ports.sockets:
        target = ipv6 if sock.family == socket.AF_INET6 else ipv4
        proto = "udp" if sock.type == socket.SOCK_DGRAM else "tcp"
        yield f"{proto} {sock.fileno()} {target} {container_port}\n".encode()
    yield b"\n"


async def _spawn(ports: BoundPorts, netns: int, userns: int | None, limits: list[str]) -> asyncio.subprocess.Process:
    for sock, _ in ports.sockets:
        sock.setblocking(False)
        if sock.type == socket.SOCK_DGRAM:
            continue
        try:
            # Accepted connections inherit SO_REUSEADDR: their TIME_WAIT must not block the next start.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.listen(BACKLOG)
        except OSError as error:
            address, port = sock.getsockname()[:2]
            raise _bind_error(error, address, port) from error
    descriptors = [netns] if userns is None else [netns, userns]
    argv = [native.program("container-relay"), *limits, "--netns", str(netns)]
    if userns is not None:
        argv += ["--userns", str(userns)]
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[*descriptors, *(sock.fileno() for sock, _ in ports.sockets)],
            env={"PATH": os.defpath},
        )
    except OSError as error:
        raise native.start_error(argv[0], error) from error


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
