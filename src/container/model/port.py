"""Published ports and sockets (contract 3.1, publishedPorts and publishedSockets)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishPort:
    """`count` consecutive ports of the host forwarded to as many of the container; `proto` is `tcp` or `udp`."""

    host_address: str
    host_port: int
    container_port: int
    proto: str = "tcp"
    count: int = 1


@dataclass(frozen=True)
class PublishSocket:
    """A unix socket in the container that the host reaches at `host_path`; both paths are absolute."""

    container_path: str
    host_path: str
    permissions: int | None = None
