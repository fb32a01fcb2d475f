"""Sockets that a process made outside its own directory, on record so that another can remove them after its death."""

import contextlib
import os
import stat
from typing import Any

from container.errors import ContainerError
from container.store import atomic


class Leftovers:
    """The record at `path`: which sockets there are to remove. Blocks on local I/O only."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files: list[dict[str, Any]] = []

    def note(self, socket_path: str) -> None:
        """Write a socket down. Raises ContainerError, OSError."""
        made = os.lstat(socket_path)
        self._files.append({"path": socket_path, "device": made.st_dev, "inode": made.st_ino})
        atomic.write_json(self._path, self._files)

    def remove(self) -> None:
        """Remove what is on record, unless something else took its place, and the record."""
        try:
            files = atomic.read_json(self._path)
        except ContainerError:
            return
        for file in files if isinstance(files, list) else []:
            with contextlib.suppress(OSError, KeyError, TypeError):
                found = os.lstat(file["path"])
                if (found.st_dev, found.st_ino) == (file["device"], file["inode"]) and stat.S_ISSOCK(found.st_mode):
                    os.unlink(file["path"])
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        self._files.clear()
