"""Layers as squashfs files, keyed by diff-id: `<diff-id>-<variant>.squashfs` and `<diff-id>.json` (`layerindex`).

A build is one pass over the compressed blob: decompress and hash in one thread, rewrite in another, which pipes into
sqfstar. Only a layer with a member
that replaces an earlier one is read again. Everything here blocks; run it in a thread.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from container.errors import ContainerError
from container.oci import layerstream, layertree, squashfs, tarheader
from container.oci.borrow import Files, Loans
from container.oci.digest import hex_of
from container.oci.layerindex import LayerIndex
from container.oci.layerstream import Open
from container.oci.layertree import LayerTree
from container.oci.pipes import Cancellation
from container.oci.tarheader import Entry
from container.oci.tarstream import TarReader
from container.store import atomic

SQUASHFS = ".squashfs"


class _Replaced(Exception):
    """A member replaces one that is in the stream already."""


class LayerStore:
    """The built layers of one store, below `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, diff_id: str, variant: str) -> str:
        """Where one form of a layer is, or will be."""
        return os.path.join(self.directory, f"{hex_of(diff_id)}-{variant}{SQUASHFS}")

    def index(self, diff_id: str) -> LayerIndex | None:
        """The index of a layer, None when no form of it was ever built (or its index is unreadable)."""
        try:
            return LayerIndex.from_json(atomic.read_json(self._index_path(diff_id)))
        except (ContainerError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def find(self, diff_id: str, below: Sequence[LayerIndex], chain: str) -> str | None:
        """Path of the form that the layer takes on top of `below` (`LayerIndex.variant`), if it is there."""
        index = self.index(diff_id)
        if index is None:
            return None
        path = self.path(diff_id, index.variant(below, chain))
        return path if os.path.exists(path) else None

    def collect(self, diff_ids: set[str]) -> int:
        """Remove all layers but these; returns the bytes that this freed."""
        keep, freed = {hex_of(diff_id) for diff_id in diff_ids}, 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name[:64] not in keep and not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        size = entry.stat().st_blocks * 512
                        os.unlink(entry.path)
                        freed += size
        return freed

    def keep(self, diff_id: str, index: LayerIndex) -> None:
        """Record the index of a layer. Raises ContainerError(internal)."""
        atomic.write_json(self._index_path(diff_id), index.to_json())

    def _index_path(self, diff_id: str) -> str:
        return os.path.join(self.directory, f"{hex_of(diff_id)}.json")


class LayerBuild:
    """One layer in the making: `feed`, then `finish`; between them, when the layer borrows, `borrow` and `take_up`.

    A context manager; leaving it earlier leaves nothing behind.
    """

    def __init__(
        self, store: LayerStore, blob: Open, diff_id: str, cancellation: Cancellation, progress: Callable[[int], None]
    ) -> None:
        """`blob` opens the compressed layer; `progress` is told the compressed bytes of each step."""
        self._store = store
        self._blob = blob
        self._diff_id = diff_id
        self._cancellation = cancellation
        self._progress = progress
        self._tree = LayerTree(_raise_replaced)
        self._stack = contextlib.ExitStack()
        self._temporary = atomic.sibling(os.path.join(store.directory, hex_of(diff_id)))

    def __enter__(self) -> "LayerBuild":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def feed(self) -> LayerIndex:
        """Turn the blob into squashfs, but for its directories.

        Raises ContainerError: invalidArgument for a corrupt blob or one that is not what `diff_id` says, internalError
        when sqfstar fails (a full disk, say); Cancelled.
        """
        try:
            self._pass(LayerTree(_raise_replaced), frozenset(), emit=True)
        except _Replaced:
            self._stack.close()
            replaced: set[int] = set()
            self._pass(LayerTree(replaced.add), frozenset(), emit=False)
            self._pass(LayerTree(_ignore), frozenset(replaced), emit=True)
        return LayerIndex.of(self._tree)

    def borrow(self, below: Files) -> Loans:
        """What the hard links of the layer need of the layers `below`. Raises as `Files.add`."""
        with layerstream.translated(self._diff_id):
            loans = below.lend(self._tree)
        for paths in (paths for members in loans.values() for paths in members.values()):
            for path in paths:
                self._tree.imply(path)
        return loans

    def take_up(self, blob: Open, diff_id: str, loan: Mapping[int, Sequence[bytes]]) -> None:
        """Copy members of a lower layer into this one, under the names that `loan` gives. Raises as `feed`."""
        with layerstream.members(blob, diff_id, self._cancellation) as reader, self._piping():
            for ordinal, entry in enumerate(reader):
                if paths := loan.get(ordinal):
                    self._tree.owners.update((entry.uid, entry.gid))
                    self._write(layertree.checked(entry, paths[0]), reader)
                    for path in paths[1:]:
                        self._write(Entry(path, tarheader.LINK, link=paths[0]), reader)

    def finish(self, below: Sequence[LayerIndex], chain: str) -> str:
        """Add the directories, as they are on top of `below`, and put the squashfs in place: its path.

        `chain` is the chain-id of the stack. Raises ContainerError(internal).
        """
        index = LayerIndex.of(self._tree)
        resolved = index.resolve(below)
        root = self._tree.directories[b""] or resolved[b""]
        owners = {*self._tree.owners, os.getuid(), os.getgid()}  # sqfstar gives the root to its caller first
        with layerstream.translated(self._diff_id), self._piping():
            for entry in self._tree.closing(resolved.__getitem__):
                owners.update((entry.uid, entry.gid))
                self._sqfstar.writer.write(tarheader.build(entry))
            for mark in squashfs.marks(root, owners):
                self._sqfstar.writer.write(tarheader.build(mark))
            self._sqfstar.writer.write(tarheader.ZERO_BLOCK * 2)
            self._sqfstar.finish()
            self._stack.callback(_unlink, self._temporary)
            squashfs.set_root(self._temporary, root)
            final = self._store.path(self._diff_id, index.variant(below, chain))
            self._store.keep(self._diff_id, index)
            os.rename(self._temporary, final)
            atomic.sync_directory(self._store.directory)
        return final

    def _pass(self, tree: LayerTree, skip: frozenset[int], *, emit: bool) -> None:
        self._tree = tree
        with layerstream.members(self._blob, self._diff_id, self._cancellation, self._progress) as reader:
            if emit:
                self._sqfstar = self._stack.enter_context(squashfs.Sqfstar(self._temporary, f"layer {self._diff_id}"))
            with self._piping():
                for ordinal, entry in enumerate(reader):
                    placed = tree.add(entry, ordinal)
                    if placed is not None and emit and ordinal not in skip:
                        self._write(placed, reader)

    def _write(self, entry: Entry, reader: TarReader) -> None:
        write = self._sqfstar.writer.write
        write(tarheader.build(entry))
        if entry.size:
            for chunk in reader.data():
                write(chunk)
            write(tarheader.padding(entry.size))

    @contextlib.contextmanager
    def _piping(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise self._sqfstar.failure() from error


def _raise_replaced(_: int) -> None:
    raise _Replaced


def _ignore(_: int) -> None:
    pass


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
