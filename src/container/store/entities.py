"""Records on disk: a directory per entity with one JSON file in it, `<root>/<id>/<file>`.

The directory may hold more (a bundle, a disk image) and goes as a whole. Making and removing one is atomic: it is
renamed into place when the record in it is complete, and renamed away before its contents are removed.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, not_found, os_reason
from container.model import codec
from container.store import atomic
from container.store.locks import locked

T = TypeVar("T")


@dataclass(frozen=True)
class Corrupt:
    """A record that cannot be read: whose it is, where it is and why."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """What `load_all` found: good records by id, sorted, and the corrupt ones beside them."""

    records: dict[str, T]
    corrupt: list[Corrupt]


class Entities(Generic[T]):
    """The records of one kind below `root`. Safe between processes and threads; blocks on local I/O only."""

    def __init__(self, root: str, kind: type[T], noun: str, filename: str = "entity.json") -> None:
        """`kind` is a model dataclass; `noun` names one in messages (`container`, `network`)."""
        self._root = root
        self._kind = kind
        self._noun = noun
        self._filename = filename

    def directory(self, id: str) -> str:
        """Directory of one entity, whether it exists or not. Raises ContainerError(invalidArgument) for a bad id."""
        if not id or id.startswith(".") or "/" in id or "\0" in id:
            raise invalid_argument(f"cannot use '{id}': it is not a valid {self._noun} id")
        return os.path.join(self._root, id)

    def path(self, id: str) -> str:
        """Path of one record."""
        return os.path.join(self.directory(id), self._filename)

    def load_all(self) -> Loaded[T]:
        """Every record, and what could not be read. Removes what interrupted operations left behind."""
        records: dict[str, T] = {}
        corrupt: list[Corrupt] = []
        with self._lock():
            self._sweep()
            names = sorted(name for name in os.listdir(self._root) if not name.startswith("."))
        for name in names:
            try:
                records[name] = self.load(name)
            except ContainerError as error:
                if os.path.isdir(os.path.join(self._root, name)):  # else removed meanwhile
                    corrupt.append(Corrupt(name, self.path(name), error.describe()))
        return Loaded(records, corrupt)

    def load(self, id: str) -> T:
        """One record. Raises ContainerError: notFound, or internalError with the path and why it cannot be read."""
        path = self.path(id)
        if not os.path.isdir(os.path.dirname(path)):
            raise not_found(f"{self._noun} {id} not found")
        try:
            return codec.decode(self._kind, atomic.read_json(path), self._noun)
        except ContainerError as error:
            if error.code is ErrorCode.INTERNAL:
                raise
            raise internal(f"cannot read {path}: {error.message}") from error
        except (KeyError, TypeError, ValueError) as error:  # from a hand-written from_json of the model
            raise internal(f"cannot read {path}: malformed: {error}") from error

    def create(self, id: str, record: T, fill: Callable[[str], None] | None = None) -> str:
        """Write a new record and return its directory. Raises ContainerError(exists) when there is one.

        `fill` puts what else belongs there into the directory that it is called with, before it gets its name.
        """
        final = self.directory(id)
        with self._lock():
            if os.path.lexists(final):
                raise ContainerError(ErrorCode.EXISTS, f"{self._noun} already exists: {id}")
            temporary = atomic.sibling(final)
            try:
                os.mkdir(temporary, 0o700)
                atomic.write_json(os.path.join(temporary, self._filename), codec.encode(record))
                if fill is not None:
                    fill(temporary)
                os.rename(temporary, final)
                atomic.sync_directory(self._root)
            except OSError as error:
                raise internal(f"cannot create {final}: {os_reason(error)}") from error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return final

    def update(self, id: str, record: T) -> None:
        """Replace a record. Raises ContainerError(notFound) when there is none."""
        with self._lock():
            if not os.path.isdir(self.directory(id)):
                raise not_found(f"{self._noun} {id} not found")
            atomic.write_json(self.path(id), codec.encode(record))

    def delete(self, id: str) -> None:
        """Remove an entity's directory, corrupt or not. Raises ContainerError(notFound) when there is none."""
        final = self.directory(id)
        condemned = atomic.sibling(final)
        with self._lock():
            try:
                os.rename(final, condemned)
                atomic.sync_directory(self._root)
            except FileNotFoundError as error:
                raise not_found(f"{self._noun} {id} not found") from error
            except OSError as error:
                raise internal(f"cannot remove {final}: {os_reason(error)}") from error
        _remove(condemned)  # what stays is swept by the next load_all

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        try:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
        except OSError as error:
            raise internal(f"cannot create {self._root}: {os_reason(error)}") from error
        return locked(os.path.join(self._root, ".lock"))

    def _sweep(self) -> None:
        for name in os.listdir(self._root):
            if name.startswith(".") and name.endswith(atomic.SUFFIX):
                _remove(os.path.join(self._root, name))


def _remove(path: str) -> None:
    """What can be removed of a tree, in which a guest may have made more levels than we have descriptors or stack."""
    subprocess.run(["rm", "-rf", "--", path], stdin=subprocess.DEVNULL, capture_output=True, check=False)
