"""The disk of an image: all its layers as partitions of one read-only disk, without copying any of them.

The disk is a VMDK descriptor of flat extents (QEMU's block/vmdk.c reads it): the head of a GPT, each layer's squashfs
as it is, the GPT's backup. What that reader insists on: every extent line says `RW`, no blank line stands before the
first one, paths are relative to the descriptor and hold no quote. Files are named by the stack's chain-id:
`<chain>.vmdk`, `<chain>.gpt` (head and backup) and `<chain>.json` (what the disk is made of).
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from container.errors import ContainerError, internal, os_reason
from container.oci import digest, gpt
from container.store import atomic

_SUFFIXES = (".json", ".vmdk", ".gpt")  # in the order of removal
_MAX_PARTITIONS = 255  # linux/blkdev.h: DISK_MAX_PARTS


@dataclass(frozen=True)
class Part:
    """A layer of a disk: its squashfs, `size` in bytes."""

    diff_id: str
    path: str
    size: int


class DiskStore:
    """The disks of one store, below `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def make(self, chain: str, parts: Sequence[tuple[str, str]]) -> tuple[str, list[Part]]:
        """The disk of a stack of (diff-id, squashfs path), the lowest first; one that is there and right is reused.

        `chain` is the stack's chain-id. Returns the path of the disk's descriptor. Blocks. Raises
        ContainerError(internal), leaving nothing.
        """
        if len(parts) > _MAX_PARTITIONS:
            raise internal(f"the image has {len(parts)} layers; a disk has room for {_MAX_PARTITIONS}")
        base = os.path.join(self.directory, digest.hex_of(chain))
        try:
            stack = [Part(diff_id, path, _padded(path)) for diff_id, path in parts]
            record = [[os.path.basename(part.path), part.size] for part in stack]
            if not self._is_made(base, record):
                self._write(base, stack, chain)
                atomic.write_json(f"{base}.json", record)
        except OSError as error:
            raise internal(f"cannot make the disk {base}.vmdk: {os_reason(error)}") from error
        return f"{base}.vmdk", stack

    def chains(self) -> set[str]:
        """Hex chain-ids of the disks that are there, also of half-removed ones."""
        return {name.partition(".")[0] for name in os.listdir(self.directory) if not name.startswith(".")}

    def remove(self, chain: str) -> int:
        """Remove a disk; returns the bytes that this freed."""
        freed = 0
        for suffix in _SUFFIXES:
            path = os.path.join(self.directory, chain + suffix)
            with contextlib.suppress(FileNotFoundError):
                freed += os.stat(path).st_blocks * 512
                os.unlink(path)
        return freed

    def _is_made(self, base: str, record: list[list[object]]) -> bool:
        try:
            known = atomic.read_json(f"{base}.json")
        except ContainerError:
            return False
        return bool(known == record) and all(os.path.exists(base + suffix) for suffix in _SUFFIXES)

    def _write(self, base: str, stack: list[Part], chain: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{base}.json")  # so that nobody takes a mixture for a disk
        table = gpt.build([part.size // gpt.SECTOR for part in stack], chain)
        atomic.write(f"{base}.gpt", table.head + table.tail)
        atomic.write(f"{base}.vmdk", _descriptor(base, stack, table).encode())


def _descriptor(base: str, stack: list[Part], table: gpt.Table) -> str:
    name, directory = f"{os.path.basename(base)}.gpt", os.path.dirname(base)
    extents = [(gpt.FIRST, name, 0)]
    extents += [(part.size // gpt.SECTOR, os.path.relpath(part.path, directory), 0) for part in stack]
    extents.append((len(table.tail) // gpt.SECTOR, name, gpt.FIRST))
    lines = [f'RW {sectors} FLAT "{path}" {offset}' for sectors, path, offset in extents]
    return "\n".join(
        [
            "# Disk DescriptorFile",
            "version=1",
            "CID=fffffffe",
            "parentCID=ffffffff",
            'createType="monolithicFlat"',
            "# Extent description",
            *lines,
            "# The Disk Data Base",
            'ddb.virtualHWVersion = "4"',
            f'ddb.geometry.cylinders = "{min(table.sectors // (16 * 63), 16383)}"',
            'ddb.geometry.heads = "16"',
            'ddb.geometry.sectors = "63"',
            'ddb.adapterType = "ide"',
            "",
        ]
    )


def _padded(path: str) -> int:
    """The size of a squashfs, which sqfstar pads to 4 KiB; a file that is not so padded is now."""
    size = os.stat(path).st_size
    if size % 4096:
        size += -size % 4096
        os.truncate(path, size)
    return size
