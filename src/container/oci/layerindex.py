"""What is kept of a built layer beside its squashfs: its directories, for the layers that are put on top of it.

The same layer can have different forms on different bases, named by their `variant`: its root looks as the layers below
make it look when it does not list it; and a layer may rely on more of them (`stacked`): by having something in other
directories that it does not list, or hard links to files of theirs.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from container.oci.digest import hex_of
from container.oci.layertree import DEFAULT_DIRECTORY, LayerTree, above
from container.oci.tarheader import Entry

_NO_IMPLIED = hashlib.sha256(b"[]").hexdigest()[:16]


@dataclass(frozen=True)
class LayerIndex:
    """The directories of a layer; paths relative to the root, which is `b""`."""

    listed: dict[bytes, Entry]
    implied: list[bytes]  # sorted
    opaque: frozenset[bytes]  # hide what lower layers have in them
    hidden: frozenset[bytes]  # removed from lower layers, even if the layer has them anew
    stacked: bool  # relies on more of the layers below than the metadata of the root

    @classmethod
    def of(cls, tree: LayerTree) -> "LayerIndex":
        """The index of a complete tree."""
        listed = {path: entry for path, entry in tree.directories.items() if entry is not None}
        return cls(
            listed,
            tree.implied(),
            frozenset(tree.opaque),
            frozenset(tree.whiteouts),
            bool(tree.assumed or tree.borrowed),
        )

    def to_json(self) -> dict[str, Any]:
        """For `<diff-id>.json`; names that are not UTF-8 have surrogates."""
        return {
            "listed": {os.fsdecode(path): _encode(entry) for path, entry in sorted(self.listed.items())},
            "implied": [os.fsdecode(path) for path in self.implied],
            "opaque": sorted(os.fsdecode(path) for path in self.opaque),
            "hidden": sorted(os.fsdecode(path) for path in self.hidden),
            "stacked": self.stacked,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "LayerIndex":
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            {os.fsencode(path): _decode(fields) for path, fields in data["listed"].items()},
            [os.fsencode(path) for path in data["implied"]],
            frozenset(os.fsencode(path) for path in data["opaque"]),
            frozenset(os.fsencode(path) for path in data["hidden"]),
            bool(data["stacked"]),
        )

    def resolve(
        self, below: Sequence["LayerIndex"], there: Callable[[bytes], bool] = lambda _: True
    ) -> dict[bytes, Entry]:
        """Metadata of the implied directories on top of the layers `below`, the lowest first.

        `there` tells which of them those have.
        """
        return {path: self._look_up(path, below) if there(path) else DEFAULT_DIRECTORY for path in self.implied}

    def resolved(self, entries: dict[bytes, Entry]) -> "LayerIndex":
        """The index of a form that is made for one stack: nothing but the root is left to the layers below."""
        listed = {**self.listed, **{path: entry for path, entry in entries.items() if path}}
        return replace(self, listed=listed, implied=[path for path in self.implied if not path])

    def variant(self, below: Sequence["LayerIndex"], chain: str) -> str:
        """The name of the form that the layer takes on top of `below`; `chain` is the chain-id of the stack with it."""
        if self.stacked:
            return hex_of(chain)
        if not self.implied:
            return _NO_IMPLIED
        resolved = self.resolve(below)
        text = json.dumps([[os.fsdecode(path), _encode(entry)] for path, entry in sorted(resolved.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _look_up(self, path: bytes, below: Sequence["LayerIndex"]) -> Entry:
        ancestors = set(above(path))
        for layer in reversed(below):
            entry = layer.listed.get(path)
            if entry is not None:
                return replace(entry, name=b"")
            if path in layer.hidden or ancestors & layer.hidden or ancestors & layer.opaque:
                break
        return DEFAULT_DIRECTORY


def _encode(entry: Entry) -> list[Any]:
    xattrs = {os.fsdecode(key): value.hex() for key, value in sorted(entry.xattrs.items())}
    return [entry.mode, entry.uid, entry.gid, entry.mtime, xattrs]


def _decode(fields: list[Any]) -> Entry:
    mode, uid, gid, mtime, xattrs = fields
    attributes = {os.fsencode(key): bytes.fromhex(value) for key, value in xattrs.items()}
    return replace(DEFAULT_DIRECTORY, mode=mode, uid=uid, gid=gid, mtime=mtime, xattrs=attributes)
