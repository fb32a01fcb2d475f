"""`-p [host-ip:]host[-end]:container[-end][/tcp|udp]` (contract 1.12)."""

from __future__ import annotations

from container.errors import invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAXIMUM = 64
EXPECTED = "expected [host-ip:]host-port:container-port[/tcp|udp]"
LOWEST, HIGHEST = 2, 65535


def parse_ports(words: list[str]) -> list[dict[str, Any]]:
    """Published ports in JSON shape. Raises ContainerError(invalidArgument) with the contract's texts."""
    ports = [parse_port(word) for word in words]
    if len(ports) > MAXIMUM:
        raise invalid_argument(
            f"cannot exceed more than {MAXIMUM} port publish descriptors; publish a range, as in 8000-8099:8000-8099"
        )
    taken: set[tuple[str, int]] = set()
    for port in ports:
        own = {(port["proto"], port["hostPort"] + offset) for offset in range(port["count"])}
        if own & taken:
            both = ", ".join(f"{number}/{proto}" for proto, number in sorted(own & taken))
            raise invalid_argument(f"host ports for different publish port specs may not overlap: {both}")
        taken |= own
    return ports


def parse_port(word: str) -> dict[str, Any]:
    """One descriptor."""
    text, slash, proto = word.partition("/")
    proto = proto.lower() if slash else "tcp"
    if proto not in ("tcp", "udp"):
        raise invalid_argument(f"invalid publish protocol: {proto}; expected tcp or udp")
    address, host, container = _split(text, word)
    host_first, host_last = _range(host, "host")
    first, last = _range(container, "container")
    counts = host_last - host_first + 1, last - first + 1
    if counts[0] != counts[1]:
        raise invalid_argument(f"publish host and container port counts are not equal: {counts[0]}:{counts[1]}")
    return {
        "hostAddress": address,
        "hostPort": host_first,
        "containerPort": first,
        "proto": proto,
        "count": counts[0],
    }


def _split(text: str, word: str) -> tuple[str, str, str]:
    head, colon, container = text.rpartition(":")
    if not colon or not head or not container:
        raise invalid_argument(f"invalid publish value: {word}; {EXPECTED}")
    if head.startswith("["):
        address, bracket, host = head[1:].partition("]")
        if not bracket or not host.startswith(":"):
            raise invalid_argument(f"invalid publish value: {word}; {EXPECTED}")
        return _address(address, 6), host[1:], container
    address, colon, host = head.rpartition(":")
    if colon and not address:
        raise invalid_argument(f"invalid publish value: {word}; {EXPECTED}")
    return _address(address, 4) if colon else "0.0.0.0", host, container


def _address(text: str, version: int) -> str:
    import ipaddress

    try:
        return str(ipaddress.IPv4Address(text) if version == 4 else ipaddress.IPv6Address(text))
    except ValueError:
        raise invalid_argument(f"invalid publish IPv{version} address: {text}") from None


def _range(text: str, side: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not dash:
        number = _number(text)
        if number is None:
            raise invalid_argument(f"invalid publish {side} port: {text}; expected a number from 2 to 65535")
        return number, number
    start, end = _number(first), _number(last)
    if start is None or end is None or end < start:
        raise invalid_argument(f"invalid publish {side} port range: {text}; expected first-last, from 2 to 65535")
    return start, end


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if LOWEST <= int(text) <= HIGHEST else None
