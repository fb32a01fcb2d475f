"""Ports of loopback for programs that must be told a number: nobody else takes them before they are bound."""

import socket

FIRST, LAST = 20000, 32000  # below what the kernel gives to connections (ip(7), ip_local_port_range)


def reserve(count: int = 1) -> int:
    """The first of `count` consecutive ports that are free and that no other test gets while this process lives."""
    for first in range(FIRST, LAST, count):
        if all(_claim(first + offset) and is_free(first + offset) for offset in range(count)):
            return first
    raise AssertionError("no free ports")


def is_free(port: int) -> bool:
    """Whether the port can be bound, for TCP and UDP, IPv4 and IPv6."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as sock:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    sock.bind((address, port))
                except OSError:
                    return False
    return True


def _claim(port: int) -> bool:
    """Bind a name that stands for the port until this process ends (unix(7), abstract sockets)."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.bind(f"\0container-test-port-{port}")
        except OSError:
            return False
        sock.detach()
        return True
