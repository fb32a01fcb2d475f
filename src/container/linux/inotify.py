"""Changes of files and directories as events: inotify(7)."""

import ctypes
import os
import select
import struct
from typing import NamedTuple

MODIFY = 0x2
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
IGNORED = 0x8000

_HEADER = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len; then the name, padded with zeros
_READ_SIZE = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """`name` is that of the entry in a watched directory, empty for the watched file itself."""

    watch: int
    mask: int
    name: str


class Inotify:
    """An inotify instance, closed by leaving the context."""

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise _last_error("inotify")

    def __enter__(self) -> "Inotify":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, path: str, mask: int) -> int:
        """Watch a path; the watch number that its events carry, the same one for the same inode. Raises OSError."""
        watch: int = _libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        if watch < 0:
            raise _last_error(path)
        return watch

    def remove(self, watch: int) -> None:
        """Stop watching; one that is gone already is fine."""
        _libc.inotify_rm_watch(self._fd, watch)

    def wait(self, timeout: float | None = None) -> list[Event]:
        """The events that came, at least one unless `timeout` (seconds) passed. Interrupted by signal handlers."""
        ready, _, _ = select.select([self._fd], [], [], timeout)
        return self._read() if ready else []

    def _read(self) -> list[Event]:
        data = os.read(self._fd, _READ_SIZE)
        events, offset = [], 0
        while offset < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            name = data[offset : offset + length].rstrip(b"\0")
            events.append(Event(watch, mask, os.fsdecode(name)))
            offset += length
        return events

    def close(self) -> None:
        """End all watches."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _last_error(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)
