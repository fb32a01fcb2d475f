"""What is in a stack of layers by name, as an overlay shows it: for layers that rely on what is below them."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from container.errors import internal, invalid_argument
from container.oci.layertree import LayerTree, above, resolve
from container.oci.tarheader import show
from container.store import atomic

SUFFIX = ".names"


@dataclass(frozen=True)
class Names:
    """The names of one built layer."""

    files: dict[bytes, tuple[int, bytes | None]]  # all but directories: ordinal of the member, target of a symlink
    borrowed: dict[bytes, bytes]  # hard links to files of lower layers, with these
    directories: frozenset[bytes]
    closed: frozenset[bytes]  # hide what lower layers have in them
    removed: frozenset[bytes]

    @classmethod
    def of(cls, tree: LayerTree) -> "Names":
        """The names of a settled tree."""
        files = {path: (ordinal, target) for path, ordinal, target in tree.files()}
        closed, removed = tree.opaque_directories(), tree.hidden()
        return cls(files, dict(tree.borrowed), frozenset(tree.directories), frozenset(closed), frozenset(removed))

    def write(self, path: str) -> None:
        """Keep them in a file. Raises ContainerError(internal)."""
        value = [
            [[_text(name), ordinal, target and _text(target)] for name, (ordinal, target) in self.files.items()],
            [[_text(name), _text(target)] for name, target in self.borrowed.items()],
            *([_text(name) for name in names] for names in (self.directories, self.closed, self.removed)),
        ]
        atomic.write(path, json.dumps(value).encode())

    @classmethod
    def read(cls, path: str) -> "Names":
        """Inverse of `write`. Raises ContainerError(internal)."""
        try:
            files, borrowed, *sets = atomic.read_json(path)
            return cls(
                {os.fsencode(name): (ordinal, target and os.fsencode(target)) for name, ordinal, target in files},
                {os.fsencode(name): os.fsencode(target) for name, target in borrowed},
                *(frozenset(map(os.fsencode, names)) for names in sets),
            )
        except (TypeError, ValueError) as error:
            raise internal(f"cannot read {path}: {error}") from error


class File(NamedTuple):
    """What is no directory, by the member that it came from."""

    layer: int
    ordinal: int
    target: bytes | None  # of a symbolic link


class Lower:
    """What a stack of layers, the lowest first, has by name. Raises ContainerError(invalidArgument), as `file`."""

    def __init__(self, layers: Iterable[Names] = ()) -> None:
        self.files: dict[bytes, File] = {}
        self._directories: set[bytes] = set()
        for number, names in enumerate(layers):
            self._add(number, names)

    @classmethod
    def of(cls, squashfs: Sequence[str]) -> "Lower":
        """What the built layers at these paths have."""
        return cls(Names.read(names_path(path)) for path in squashfs)

    def target(self, path: bytes) -> bytes | None:
        """Where the symbolic link at `path` leads; None when there is none."""
        file = self.files.get(path)
        return file.target if file else None

    def has_directory(self, path: bytes) -> bool:
        """Whether there is a directory at `path`."""
        return not path or path in self._directories

    def file(self, path: bytes, target: bytes) -> File:
        """What the hard link `path` to `target` is. Raises ContainerError(invalidArgument) when there is no such."""
        found = self.files.get(resolve(target, self.target))
        if found is None:
            raise invalid_argument(
                f"tar member {show(path)} is a hard link to {show(target)}, "
                "which neither the layer nor those below it have"
            )
        return found

    def check_room(self, layer: LayerTree) -> None:
        """Refuse a layer that has something in what is a file here. Raises ContainerError(invalidArgument)."""
        for path in layer.relied_on():
            if path in self.files:
                raise invalid_argument(f"the layer has something in {show(path)}, which is a file in a layer below it")

    def _add(self, number: int, names: Names) -> None:
        borrowed = {path: self.file(path, target) for path, target in names.borrowed.items()}
        gone = names.files.keys() | borrowed.keys() | names.removed
        if closed := (gone | names.closed) & self._directories:
            self.files = {path: file for path, file in self.files.items() if closed.isdisjoint(above(path))}
            self._directories = {path for path in self._directories if closed.isdisjoint(above(path))}
        for path in names.directories | names.removed:
            self.files.pop(path, None)
        self._directories = self._directories - gone | names.directories
        self.files.update((path, File(number, *file)) for path, file in names.files.items())
        self.files.update(borrowed)


def names_path(squashfs: str) -> str:
    """Where the names of a built layer are."""
    return os.path.splitext(squashfs)[0] + SUFFIX


def _text(name: bytes) -> str:
    return os.fsdecode(name)
