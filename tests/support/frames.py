"""Ethernet frames as a guest's network card sends them to its tap: behind a virtio-net header."""

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import IPv6Address

HEADER = bytes(10)  # virtio_net_hdr: no offload
BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP_REQUEST, ARP_REPLY = 1, 2


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return HEADER + _mac(target) + _mac(source) + kind.to_bytes(2, "big") + payload.ljust(46, b"\0")


def arp(source: str, operation: int, sender: tuple[str, str], target: str, to: str = BROADCAST) -> bytes:
    """`sender` is what the packet says of its sender: MAC and IP address."""
    packet = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + _mac(sender[0]) + socket.inet_aton(sender[1])
    return ethernet(source, to, 0x0806, packet + bytes(6) + socket.inet_aton(target))


def udp(source_mac: str, target_mac: str, source: str, target: str, data: bytes) -> bytes:
    """A datagram over IPv4 from port 9 to port 9, without a UDP checksum."""
    body = struct.pack("!HHHH", 9, 9, 8 + len(data), 0) + data
    return _ipv4(source_mac, target_mac, 17, source, target, body)


def igmp_query(source_mac: str, source: str) -> bytes:
    """Who is in a multicast group? (RFC 2236)"""
    body = struct.pack("!BBH4x", 0x11, 100, 0xFFFF ^ 0x1164)
    return _ipv4(source_mac, "01:00:5e:00:00:01", 2, source, "224.0.0.1", body)


def tagged(frame: bytes, vlan: int) -> bytes:
    """The frame with a VLAN tag (IEEE 802.1Q)."""
    macs = len(HEADER) + 12
    return frame[:macs] + struct.pack("!HH", 0x8100, vlan) + frame[macs:]


def icmpv6(source_mac: str, source: str, target: str, message: bytes, to: str = "33:33:00:00:00:01") -> bytes:
    """`message` starts with type and code, and has zero for the checksum."""
    addresses = IPv6Address(source).packed + IPv6Address(target).packed
    checksum = _checksum(addresses + struct.pack("!II", len(message), 58) + message)
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    head = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + addresses
    return ethernet(source_mac, to, 0x86DD, head + message)


def neighbour_advertisement(target: str, mac: str) -> bytes:
    return bytes((136, 0, 0, 0, 0x20, 0, 0, 0)) + IPv6Address(target).packed + b"\2\1" + _mac(mac)


def router_advertisement(mac: str) -> bytes:
    return struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\1\1" + _mac(mac)


def mld_query() -> bytes:
    """The same for IPv6 (RFC 2710)."""
    return struct.pack("!BBHHH16x", 130, 0, 0, 1000, 0)


def receive(tap: int, wanted: Callable[[bytes], bool], timeout: float = 30.0) -> bytes | None:
    """The next frame, without its virtio-net header, that is `wanted`."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        if select.select([tap], [], [], left)[0] and wanted(frame := os.read(tap, 65536)[len(HEADER) :]):
            return frame
    return None


def _ipv4(source_mac: str, target_mac: str, protocol: int, source: str, target: str, body: bytes) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0) + addresses
    head = head[:10] + _checksum(head).to_bytes(2, "big") + head[12:]
    return ethernet(source_mac, target_mac, 0x0800, head + body)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
