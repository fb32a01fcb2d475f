"""Networks, and a container's attachment to one (contract 3.1, 3.3)."""

import enum
from dataclasses import dataclass, field


class NetworkMode(enum.Enum):
    """`hostOnly` has no uplink."""

    NAT = "nat"
    HOST_ONLY = "hostOnly"


@dataclass(frozen=True)
class AttachmentOptions:
    """What a container asks of a network; `mtu` in bytes.

    Addresses are without prefix length, None = any free one. `aliases` are further names that the network's DNS server
    knows the container by.
    """

    hostname: str
    mac_address: str | None = None
    mtu: int | None = None
    ipv4_address: str | None = field(default=None, metadata={"json": "ipv4Address"})
    ipv6_address: str | None = field(default=None, metadata={"json": "ipv6Address"})
    aliases: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AttachmentConfiguration:
    """One network of a container's configuration."""

    network: str
    options: AttachmentOptions


@dataclass(frozen=True)
class Attachment:
    """What a container got of a network; addresses with prefix length, gateway without."""

    network: str
    hostname: str
    ipv4_address: str = field(metadata={"json": "ipv4Address"})
    ipv4_gateway: str = field(metadata={"json": "ipv4Gateway"})
    ipv6_address: str | None = field(default=None, metadata={"json": "ipv6Address"})
    ipv6_gateway: str | None = field(default=None, metadata={"json": "ipv6Gateway"})
    mac_address: str | None = None
    mtu: int | None = None


@dataclass(frozen=True)
class NetworkConfiguration:
    """The record of a network; the subnets are what was asked for."""

    name: str
    creation_date: str
    mode: NetworkMode
    plugin: str
    ipv4_subnet: str | None = field(default=None, metadata={"json": "ipv4Subnet"})
    ipv6_subnet: str | None = field(default=None, metadata={"json": "ipv6Subnet"})
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkRequest:
    """`network create` as the user typed it; a subnet that is None is chosen by the system."""

    name: str
    mode: NetworkMode = NetworkMode.NAT
    plugin: str = "container-network-bridge"
    ipv4_subnet: str | None = field(default=None, metadata={"json": "ipv4Subnet"})
    ipv6_subnet: str | None = field(default=None, metadata={"json": "ipv6Subnet"})
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkStatus:
    """The subnets in force."""

    ipv4_subnet: str = field(metadata={"json": "ipv4Subnet"})
    ipv4_gateway: str = field(metadata={"json": "ipv4Gateway"})
    ipv6_subnet: str | None = field(default=None, metadata={"json": "ipv6Subnet"})


@dataclass(frozen=True)
class Network:
    """A network as `list` and `inspect` show it."""

    id: str
    configuration: NetworkConfiguration
    status: NetworkStatus


@dataclass(frozen=True)
class NetworkPruneResult:
    """Names of the networks that went, and why others did not, by name."""

    deleted: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
