"""Published ports on the host: sockets bound before a VM boots, so that a port in use is known early."""

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterable
from typing import Protocol

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, invalid_state, os_reason

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

    def listen(self) -> None:
        """Listen on the TCP ones; none blocks any more. May be called again. Raises ContainerError."""
        for sock, _ in self.sockets:
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
        raise invalid_argument(f"cannot publish host port {port}: '{address}' is no IP address") from error
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
    it, and try to listen for a moment, which fails where another socket listens, or does not have SO_REUSEADDR: so this
    one does not keep it.
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
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


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
    return internal(
        f"cannot publish host port {port}: binding to {_endpoint(address, port)} failed: {os_reason(error)}"
    )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
