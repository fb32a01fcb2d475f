"""Layers as squashfs files, keyed by diff-id: `<diff-id>-<variant>.squashfs` and `.names` (`lower`), `<diff-id>.json`
(`layerindex`), which a form that is made for one stack has for itself: `<diff-id>-<chain-id>.json`.

A build is one pass over the compressed blob: decompress and hash in one thread, rewrite in another, which pipes into
sqfstar. Only a layer with a member that replaces an earlier one, and one that has members below a symbolic link of a
lower layer, is read again. Everything here blocks; run it in a thread.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from container.errors import ContainerError
from container.oci import borrow, layerstream, layertree, squashfs, tarheader
from container.oci.borrow import Loans
from container.oci.digest import hex_of
from container.oci.layerindex import LayerIndex
from container.oci.layerstream import Open
from container.oci.layertree import LayerTree
from container.oci.lower import Lower, Names, names_path
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

    def index(self, diff_id: str, chain: str | None = None) -> LayerIndex | None:
        """The index of a layer (on its stack), None when no form of it was ever built (or its index is unreadable)."""
        try:
            return LayerIndex.from_json(atomic.read_json(self._index_path(diff_id, chain)))
        except (ContainerError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def built(self, diff_id: str) -> bool:
        """Whether some form of a layer was ever built."""
        return os.path.exists(self._index_path(diff_id, None))

    def find(self, diff_id: str, below: Sequence[LayerIndex], chain: str) -> tuple[str, LayerIndex] | None:
        """The form that the layer takes on top of `below` (`LayerIndex.variant`), if it is there."""
        index = self.index(diff_id)
        if index is None:
            return None
        path = self.path(diff_id, index.variant(below, chain))
        if index.stacked:
            index = self.index(diff_id, chain)
        return (path, index) if index and os.path.exists(path) and os.path.exists(names_path(path)) else None

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

    def keep(self, diff_id: str, index: LayerIndex, chain: str) -> None:
        """Record the index of a layer on a stack. Raises ContainerError(internal)."""
        for stack in (chain, None) if index.stacked else (None,):
            atomic.write_json(self._index_path(diff_id, stack), index.to_json())

    def _index_path(self, diff_id: str, chain: str | None) -> str:
        stem = hex_of(diff_id) if chain is None else f"{hex_of(diff_id)}-{hex_of(chain)}"
        return os.path.join(self.directory, f"{stem}.json")


class LayerBuild:
    """One layer in the making: `feed`, then `finish`; between them, when the layer is stacked, `put_on` and `take_up`.

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
        self._stacked = False
        self._below = Lower()
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
            self._pass(LayerTree(_raise_replaced), emit=True)
        except _Replaced:
            self._again()
        index = LayerIndex.of(self._tree)
        self._stacked = index.stacked
        return index

    def put_on(self, paths: Sequence[str], blob: Open) -> Loans:
        """Have the layer be what it is on top of the built ones at `paths`, the lowest first: what it takes up of them.

        `blob` opens it once more. Raises as `feed`, and invalidArgument for what these layers do not allow.
        """
        self._blob = blob
        with layerstream.translated(self._diff_id):
            self._below = below = Lower.of(paths)
            if self._tree.doubtful or any(below.target(path) is not None for path in self._tree.assumed):
                self._again()
            below.check_room(self._tree)
            self._tree.settle(below.has_directory)
            loans = borrow.lend(self._tree, below)
        for path in (path for loan in loans.values() for names in loan.values() for path in names):
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

    def finish(self, below: Sequence[LayerIndex], chain: str) -> tuple[str, LayerIndex]:
        """Add the directories, as they are on top of `below`, and put the squashfs in place: its path and index.

        `chain` is the chain-id of the stack. Raises ContainerError(internal).
        """
        if not self._stacked:
            self._tree.settle(self._below.has_directory)
        index = replace(LayerIndex.of(self._tree), stacked=self._stacked)
        resolved = index.resolve(below, lambda path: self._below.has_directory(path) and path not in self._tree.fresh)
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
            Names.of(self._tree).write(names_path(final))
            index = index.resolved(resolved) if self._stacked else index
            self._store.keep(self._diff_id, index, chain)
            os.rename(self._temporary, final)
            atomic.sync_directory(self._store.directory)
        return final, index

    def _pass(self, tree: LayerTree, *, emit: bool) -> None:
        self._tree = tree
        with layerstream.members(
            self._blob, self._diff_id, self._cancellation, self._progress if emit else None
        ) as reader:
            if emit:
                self._start()
            with self._piping():
                for ordinal, entry in enumerate(reader):
                    placed = tree.add(entry, ordinal)
                    if placed is not None and emit:
                        self._write(placed, reader)

    def _again(self) -> None:
        """Begin anew: find out first what the members add up to, then take those that are left."""
        self._stack.close()
        self._pass(LayerTree(_ignore, self._below.target if self._stacked else None), emit=False)
        self._tree.owners.clear()
        self._start()
        self.take_up(self._blob, self._diff_id, borrow.own(self._tree))

    def _start(self) -> None:
        self._sqfstar = self._stack.enter_context(squashfs.Sqfstar(self._temporary, f"layer {self._diff_id}"))

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


def _raise_replaced() -> None:
    raise _Replaced


def _ignore() -> None:
    pass


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
