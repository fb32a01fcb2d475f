"""Published ports (contract 3.1, publishedPorts)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishPort:
    """`count` consecutive ports of the host forwarded to as many of the container; `proto` is `tcp` or `udp`."""

    host_address: str
    host_port: int
    container_port: int
    proto: str = "tcp"
    count: int = 1
