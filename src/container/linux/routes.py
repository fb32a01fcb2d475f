"""What this host reaches without a gateway in between, from the kernel's routing table (proc(5), /proc/net/route)."""

import ipaddress
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network


def ipv4_subnets() -> list[IPv4Network]:
    """Destinations of the host's IPv4 routes but the default one; empty where there is no such table."""
    try:
        with open("/proc/net/route", encoding="ascii") as file:
            return list(_destinations(file.read().splitlines()[1:]))
    except OSError:
        return []


def _destinations(lines: list[str]) -> Iterator[IPv4Network]:
    for line in lines:
        fields = line.split()
        destination, mask = _address(fields[1]), _address(fields[7])
        if int(mask):
            yield IPv4Network((int(destination), int(mask).bit_count()), strict=False)


def _address(text: str) -> ipaddress.IPv4Address:
    """An address as the kernel prints it: a number in the machine's byte order."""
    return ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder))
