"""What is kept of a built layer beside its squashfs: its directories, for the layers that are put on top of it.

A layer may have files in a directory that it does not list; that directory then looks as the layers below make it look,
so that the same layer can have different forms on different bases; and so can one that takes up files of lower layers.
A form is named by its `variant`.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from container.oci.digest import hex_of
from container.oci.layertree import DEFAULT_DIRECTORY, LayerTree
from container.oci.tarheader import Entry

_NO_IMPLIED = hashlib.sha256(b"[]").hexdigest()[:16]


@dataclass(frozen=True)
class LayerIndex:
    """The directories of a layer; paths relative to the root, which is `b""`."""

    listed: dict[bytes, Entry]
    implied: list[bytes]  # sorted
    opaque: frozenset[bytes]  # hide what lower layers have in them
    hidden: frozenset[bytes]  # removed from lower layers, even if the layer has them anew
    borrows: bool = False  # has hard links to files of lower layers

    @classmethod
    def of(cls, tree: LayerTree) -> "LayerIndex":
        """The index of a complete tree."""
        listed = {path: entry for path, entry in tree.directories.items() if entry is not None}
        return cls(listed, tree.implied(), frozenset(tree.opaque), frozenset(tree.whiteouts), bool(tree.borrowed))

    def to_json(self) -> dict[str, Any]:
        """For `<diff-id>.json`; names that are not UTF-8 have surrogates."""
        return {
            "listed": {os.fsdecode(path): _encode(entry) for path, entry in sorted(self.listed.items())},
            "implied": [os.fsdecode(path) for path in self.implied],
            "opaque": sorted(os.fsdecode(path) for path in self.opaque),
            "hidden": sorted(os.fsdecode(path) for path in self.hidden),
            "borrows": self.borrows,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "LayerIndex":
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            {os.fsencode(path): _decode(fields) for path, fields in data["listed"].items()},
            [os.fsencode(path) for path in data["implied"]],
            frozenset(os.fsencode(path) for path in data["opaque"]),
            frozenset(os.fsencode(path) for path in data["hidden"]),
            bool(data.get("borrows")),
        )

    def resolve(self, below: Sequence["LayerIndex"]) -> dict[bytes, Entry]:
        """Metadata of the implied directories on top of the layers `below`, the lowest first."""
        return {path: self._look_up(path, below) for path in self.implied}

    def variant(self, below: Sequence["LayerIndex"], chain: str) -> str:
        """The name of the form that the layer takes on top of `below`; `chain` is the chain-id of the stack with it."""
        if self.borrows:
            return hex_of(chain)
        if not self.implied:
            return _NO_IMPLIED
        resolved = self.resolve(below)
        text = json.dumps([[os.fsdecode(path), _encode(entry)] for path, entry in sorted(resolved.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _look_up(self, path: bytes, below: Sequence["LayerIndex"]) -> Entry:
        ancestors = _ancestors(path)
        if ancestors & self.opaque or (ancestors | {path}) & self.hidden:
            return DEFAULT_DIRECTORY
        for layer in reversed(below):
            entry = layer.listed.get(path)
            if entry is not None:
                return replace(entry, name=b"")
            if path in layer.hidden or ancestors & layer.hidden or ancestors & layer.opaque:
                break
        return DEFAULT_DIRECTORY


def _ancestors(path: bytes) -> set[bytes]:
    """The directories above `path`, the root included, unless `path` is the root."""
    found: set[bytes] = set()
    while path:
        path = path.rpartition(b"/")[0]
        found.add(path)
    return found


def _encode(entry: Entry) -> list[Any]:
    xattrs = {os.fsdecode(key): value.hex() for key, value in sorted(entry.xattrs.items())}
    return [entry.mode, entry.uid, entry.gid, entry.mtime, xattrs]


def _decode(fields: list[Any]) -> Entry:
    mode, uid, gid, mtime, xattrs = fields
    attributes = {os.fsencode(key): bytes.fromhex(value) for key, value in xattrs.items()}
    return replace(DEFAULT_DIRECTORY, mode=mode, uid=uid, gid=gid, mtime=mtime, xattrs=attributes)
