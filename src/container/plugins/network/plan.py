"""What a network looks like: its subnets and the addresses in them. Pure."""

import hashlib
import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from container.errors import invalid_argument
from container.model.network import NetworkMode

DEFAULT_SUBNET = "192.168.64.0/24"
DEFAULT_MTU = 1280
MTU_MIN, MTU_MAX = 1280, 65535
MAC_FIRST_BYTES = (0xF2, 0xF6, 0xFA, 0xFE)  # locally administered, unicast
BRIDGE = "br0"
UPLINK = "uplink0"
Address = TypeVar("Address", IPv4Address, IPv6Address)


@dataclass(frozen=True)
class Plan:
    """One network, with every default filled in."""

    id: str
    mode: NetworkMode
    ipv4: IPv4Network
    ipv6: IPv6Network | None
    bridge_mac: str

    @property
    def ipv4_gateway(self) -> IPv4Address:
        """The bridge's address: the first of the subnet."""
        return self.ipv4.network_address + 1

    @property
    def ipv6_gateway(self) -> IPv6Address | None:
        """The bridge's IPv6 address."""
        return None if self.ipv6 is None else self.ipv6.network_address + 1

    def ipv6_address(self, mac: str) -> IPv6Address | None:
        """A container's address from its MAC address (RFC 4291, modified EUI-64)."""
        if self.ipv6 is None:
            return None
        return self.ipv6.network_address + _interface_identifier(mac)

    def link_local_address(self, mac: str) -> IPv6Address | None:
        """The address that a container gives itself, the same way."""
        return None if self.ipv6 is None else IPv6Address("fe80::") + _interface_identifier(mac)

    def static_ipv4(self, text: str) -> IPv4Address:
        """An address that is asked for. Raises ContainerError(invalidArgument) unless a container can have it."""
        address, network = _address(IPv4Address, text), self.ipv4
        if address not in network or address in (network[0], network[-1], self.ipv4_gateway):
            raise invalid_argument(f"network {self.id} ({network}) has no address {text} for a container")
        return address

    def static_ipv6(self, text: str) -> IPv6Address:
        """As `static_ipv4`."""
        address, network = _address(IPv6Address, text), self.ipv6
        if network is None or address not in network or address in (network[0], self.ipv6_gateway):
            raise invalid_argument(f"network {self.id} ({network or 'no IPv6'}) has no address {text} for a container")
        return address


def _interface_identifier(mac: str) -> int:
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    return int.from_bytes(octets[:3] + b"\xff\xfe" + octets[3:], "big")


def make_plan(*, id: str, mode: str, subnet: str | None, subnet_v6: str | None, site: str, has_ipv6: bool) -> Plan:
    """The plan for the arguments of a network helper (contract 4.3).

    `site` tells systems apart: together with `id` it gives the IPv6 prefix, when none is asked for, and the bridge's
    MAC address, both the same at each start. Raises ContainerError(invalidArgument).
    """
    try:
        parsed = NetworkMode(mode)
    except ValueError as error:
        raise invalid_argument(f"invalid network mode '{mode}': must be nat or hostOnly") from error
    ipv4 = _ipv4_subnet(subnet or DEFAULT_SUBNET)
    ipv6 = (_ipv6_subnet(subnet_v6) if subnet_v6 else _ula(site, id)) if has_ipv6 else None
    digest = hashlib.sha256(f"bridge {site} {id}".encode()).digest()
    return Plan(id=id, mode=parsed, ipv4=ipv4, ipv6=ipv6, bridge_mac=bytes((0x02, *digest[:5])).hex(":"))


def _address(kind: type[Address], text: str) -> Address:
    try:
        return kind(text)
    except ValueError as error:
        raise invalid_argument(f"invalid address '{text}': {error}") from error


def _ipv4_subnet(text: str) -> IPv4Network:
    try:
        network = IPv4Network(text, strict=False)
    except ValueError as error:
        raise invalid_argument(f"invalid CIDR '{text}': {error}") from error
    if network.prefixlen > 30:
        raise invalid_argument(f"invalid CIDR '{text}': too small for a gateway and a container, /30 is the smallest")
    return network


def _ipv6_subnet(text: str) -> IPv6Network:
    try:
        network = IPv6Network(text, strict=False)
    except ValueError as error:
        raise invalid_argument(f"invalid CIDR '{text}': {error}") from error
    if network.prefixlen != 64:
        raise invalid_argument(f"invalid CIDR '{text}': an IPv6 subnet must be a /64")
    return network


def _ula(site: str, id: str) -> IPv6Network:
    """A unique local prefix (RFC 4193): global id by the site, subnet id by the network."""
    global_id = hashlib.sha256(f"site {site}".encode()).digest()[:5]
    subnet_id = hashlib.sha256(f"network {site} {id}".encode()).digest()[:2]
    return IPv6Network((b"\xfd" + global_id + subnet_id + bytes(8), 64))


def random_mac() -> str:
    """A fresh MAC address."""
    octets = bytearray(os.urandom(6))
    octets[0] = MAC_FIRST_BYTES[octets[0] % len(MAC_FIRST_BYTES)]
    return octets.hex(":")


def check_mtu(mtu: int | None) -> int:
    """The mtu in force. Raises ContainerError(invalidArgument)."""
    if mtu is None:
        return DEFAULT_MTU
    if not MTU_MIN <= mtu <= MTU_MAX:
        raise invalid_argument(f"invalid mtu value '{mtu}': must be between {MTU_MIN} and {MTU_MAX}")
    return mtu
