"""Which subnets a network can have, and which one the next network gets. Pure functions."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from container.errors import ContainerError, ErrorCode, invalid_argument, invalid_state

LARGEST, SMALLEST = 8, 30  # prefix lengths of an IPv4 subnet
IPV6_PREFIX = 64
ATTEMPTS = 4096  # candidates after the first network's subnet
SPARE = IPv4Network("10.64.0.0/24")  # where candidates go on when the first network's range is used up

Subnet = TypeVar("Subnet", IPv4Network, IPv6Network)


def parse_ipv4(text: str) -> IPv4Network:
    """A subnet that is asked for, with the network's address. Raises ContainerError(invalidArgument)."""
    try:
        subnet = IPv4Network(text, strict=False)
    except ValueError as error:
        raise invalid_argument(f"invalid CIDR '{text}': {error}") from error
    if not LARGEST <= subnet.prefixlen <= SMALLEST:
        raise invalid_argument(f"invalid CIDR '{text}': the prefix must be /{LARGEST} to /{SMALLEST}")
    if subnet.is_loopback or subnet.is_multicast or subnet.is_reserved or int(subnet.network_address) >> 24 == 0:
        raise invalid_argument(f"invalid CIDR '{text}': no network can have these addresses")
    return subnet


def parse_ipv6(text: str) -> IPv6Network:
    """As `parse_ipv4`; a /64, since the rest of an address comes from the MAC address (RFC 4291)."""
    try:
        subnet = IPv6Network(text, strict=False)
    except ValueError as error:
        raise invalid_argument(f"invalid CIDR '{text}': {error}") from error
    if subnet.prefixlen != IPV6_PREFIX:
        raise invalid_argument(f"invalid CIDR '{text}': an IPv6 subnet must be a /{IPV6_PREFIX}")
    if subnet.is_multicast or subnet.is_link_local or subnet.is_loopback or subnet.is_unspecified:
        raise invalid_argument(f"invalid CIDR '{text}': no network can have these addresses")
    return subnet


def check_free(subnet: Subnet, taken: Iterable[Subnet]) -> None:
    """Raises ContainerError(exists) `IPv4 subnet A overlaps an existing network with subnet B`."""
    for other in taken:
        if subnet.overlaps(other):
            text = f"IPv{subnet.version} subnet {subnet} overlaps an existing network with subnet {other}"
            raise ContainerError(ErrorCode.EXISTS, text)


def check_unreached(subnet: IPv4Network, reached: Iterable[IPv4Network]) -> None:
    """For a network that gets a route on the host: raises ContainerError(exists) when the host would lose another."""
    for other in reached:
        if subnet.overlaps(other):
            text = f"IPv4 subnet {subnet} overlaps {other}, which this host reaches already; uplink=veth needs another"
            raise ContainerError(ErrorCode.EXISTS, text)


def next_ipv4(first: IPv4Network, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first free one of `first`'s size after `first`. Raises ContainerError(invalidState) when none is left."""
    return _next(_private(first), list(taken), "IPv4")


def next_ipv6(first: IPv6Network, taken: Iterable[IPv6Network]) -> IPv6Network:
    """As `next_ipv4`."""
    return _next(_following(first), list(taken), "IPv6")


def _next(candidates: Iterator[Subnet], taken: list[Subnet], kind: str) -> Subnet:
    for candidate in candidates:
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise invalid_state(f"no free {kind} subnet is left; delete a network, or choose one with --subnet")


def _private(first: IPv4Network) -> Iterator[IPv4Network]:
    for start in (first, SPARE):
        for candidate in _following(start):
            if not candidate.is_private:
                break
            yield candidate


def _following(first: Subnet) -> Iterator[Subnet]:
    step, kind = first.num_addresses, type(first)
    for number in range(1, ATTEMPTS):
        address = int(first.network_address) + number * step
        if address + step > 1 << first.max_prefixlen:
            return
        yield kind((address, first.prefixlen))
