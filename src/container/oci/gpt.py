"""GUID partition tables (UEFI specification, 5.3), written once and never edited, from the sizes of the partitions."""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

SECTOR = 512
FIRST = 128  # the first partition's sector: 64 KiB, room for 496 entries
_LINUX_DATA = "0fc63daf84834772" + "8e793d69d8477de4"
_ENTRY = 128
_MIN_ENTRIES = 128
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_REVISION = 0x10000


@dataclass(frozen=True)
class Table:
    """`head` fills the sectors before the first partition, `tail` those after the last one."""

    head: bytes
    tail: bytes
    sectors: int  # of the whole disk


def build(sizes: Sequence[int], seed: str) -> Table:
    """A table of partitions of `sizes` sectors, one after the other from `FIRST`; GUIDs are derived from `seed`."""
    count = max(_MIN_ENTRIES, -(-len(sizes) // 4) * 4)
    table_sectors = count * _ENTRY // SECTOR
    entries = bytearray(count * _ENTRY)
    at = FIRST
    for index, size in enumerate(sizes):
        name = f"layer{index + 1}".encode("utf-16-le")
        struct.pack_into(
            "<16s16sQQQ72s",
            entries,
            index * _ENTRY,
            _guid_bytes(_LINUX_DATA),
            _derived(f"{seed}/{index + 1}"),
            at,
            at + size - 1,
            0,
            name,
        )
        at += size
    tail_at = at
    sectors = tail_at + table_sectors + 1
    disk = _derived(seed)
    usable = (2 + table_sectors, tail_at - 1)
    primary = _header(1, sectors - 1, usable, disk, 2, entries)
    backup = _header(sectors - 1, 1, usable, disk, tail_at, entries)
    head = _protective_mbr(sectors) + primary + bytes(entries)
    return Table(head.ljust(FIRST * SECTOR, b"\0"), bytes(entries) + backup, sectors)


def _header(
    here: int, other: int, usable: tuple[int, int], disk: bytes, entries_at: int, entries: bytes | bytearray
) -> bytes:
    def packed(crc: int) -> bytes:
        return _HEADER.pack(
            b"EFI PART",
            _REVISION,
            _HEADER.size,
            crc,
            0,
            here,
            other,
            *usable,
            disk,
            entries_at,
            len(entries) // _ENTRY,
            _ENTRY,
            zlib.crc32(entries),
        )

    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def _protective_mbr(sectors: int) -> bytes:
    partition = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    return bytes(446) + partition.ljust(64, b"\0") + b"\x55\xaa"


def _derived(text: str) -> bytes:
    """A version 8 GUID (RFC 9562) that is a function of `text`."""
    digest = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return _guid_bytes(digest.hex())


def _guid_bytes(digits: str) -> bytes:
    """A GUID as tables hold it: its first three parts little-endian."""
    raw = bytes.fromhex(digits)
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
