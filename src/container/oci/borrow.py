"""Hard links to files of lower layers: such a file is taken up into the layer that links to it, under all its names.

An overlay shows one inode under two names only when both are in one layer. So the layer gets every name that the file
still has on top of the lower layers; content and metadata come from the layer that brought it.
"""

from collections import defaultdict
from typing import NamedTuple

from container.errors import invalid_argument
from container.oci.layertree import LayerTree, resolve
from container.oci.tarheader import show

Loans = dict[int, dict[int, list[bytes]]]  # by layer, by ordinal of its member: the names that it gets, sorted


class _File(NamedTuple):
    layer: int
    ordinal: int
    target: bytes | None  # of a symbolic link


class Files:
    """What a growing stack of layers has by name, but directories."""

    def __init__(self) -> None:
        self._files: dict[bytes, _File] = {}
        self._layers = 0

    def add(self, layer: LayerTree) -> None:
        """Put a layer on top. Raises ContainerError(invalidArgument) when it has a hard link to nothing."""
        borrowed = {path: self._find(path, target) for path, target in layer.borrowed.items()}
        self._files = {path: file for path, file in self._files.items() if not layer.hides(path)}
        self._files.update((path, _File(self._layers, ordinal, link)) for path, ordinal, link in layer.files())
        self._files.update(borrowed)
        self._layers += 1

    def lend(self, layer: LayerTree) -> Loans:
        """Put a layer on top, and say what it needs of those below. Raises as `add`."""
        self.add(layer)
        wanted = {self._files[path] for path in layer.borrowed}
        loans: Loans = defaultdict(lambda: defaultdict(list))
        for path in sorted(path for path, file in self._files.items() if file in wanted):
            loans[self._files[path].layer][self._files[path].ordinal].append(path)
        return loans

    def _find(self, path: bytes, target: bytes) -> _File:
        found = self._files.get(resolve(target, self._target))
        if found is None:
            raise invalid_argument(
                f"tar member {show(path)} is a hard link to {show(target)}, "
                "which neither the layer nor those below it have"
            )
        return found

    def _target(self, path: bytes) -> bytes | None:
        file = self._files.get(path)
        return file.target if file else None
