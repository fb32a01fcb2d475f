"""Log files as a container's runtime writes them: docker's json-file records, rotated to `.1`, `.2` …; and plain ones.

`read` goes through what is there, the oldest file first; `follow` goes on with what is appended, through rotations and
through the new log of a restart.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from container.linux.inotify import Inotify

CHUNK = 1 << 20


class Log:
    """Reads one log; raw bytes. A context manager that owns the file it is at."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self) -> Iterator[bytes]:
        """Everything from the place reached so far; b"" where another file begins. Raises OSError."""
        if self._fd < 0:
            self._fd = self._next()
        while self._fd >= 0:
            if os.lseek(self._fd, 0, os.SEEK_CUR) > os.fstat(self._fd).st_size:
                os.lseek(self._fd, 0, os.SEEK_SET)  # truncated
            while data := os.read(self._fd, CHUNK):
                yield data
            following = self._next()
            if following < 0:
                return
            while data := os.read(self._fd, CHUNK):
                yield data  # appended just before the rotation
            os.close(self._fd)
            self._fd = following
            yield b""

    def follow(self, deadline: float | None = None) -> Iterator[bytes]:
        """As `read`, and then what is appended, until the log's directory is gone or `deadline` (Unix time) has passed.

        Raises OSError.
        """
        from container.linux import inotify

        with inotify.Inotify() as watches:
            mask = inotify.CREATE | inotify.MOVED_TO | inotify.DELETE | inotify.DELETE_SELF
            try:
                directory = watches.add(os.path.dirname(self._path), mask)
            except FileNotFoundError:
                return
            watched = -1
            while True:
                yield from self.read()
                watched = self._watch(watches, watched)
                yield from self.read()  # what came before the watch
                self._let_go()
                left = None if deadline is None else deadline - time.time()
                if left is not None and left <= 0:
                    return
                if any(each.watch == directory and each.mask & inotify.IGNORED for each in watches.wait(left)):
                    return

    def _watch(self, watches: Inotify, watched: int) -> int:
        from container.linux import inotify

        if self._fd < 0:
            return watched
        current = watches.add(f"/proc/self/fd/{self._fd}", inotify.MODIFY)
        if watched not in (-1, current):
            watches.remove(watched)
        return current

    def _let_go(self) -> None:
        """Close a file that was removed: while it is open, its directory is not gone for the kernel either."""
        if self._fd >= 0 and os.fstat(self._fd).st_nlink == 0:
            os.close(self._fd)
            self._fd = -1

    def _next(self) -> int:
        """Open the file after the present one, the oldest when that is not among them; -1 when there is none."""
        while True:
            chain = self._chain()
            if self._fd >= 0:
                here = _identity(os.fstat(self._fd))
                index = next((number for number, (_, found) in enumerate(chain) if found == here), -1)
                chain = chain[index + 1 :]
            if not chain:
                return -1
            path, wanted = chain[0]
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # renamed meanwhile
            if _identity(os.fstat(fd)) == wanted:
                return fd
            os.close(fd)

    def _chain(self) -> list[tuple[str, tuple[int, int]]]:
        """Paths and identities of the log's files, the oldest first, seen twice: a rotation may be under way."""
        before, chain = None, self._scan()
        while chain != before:
            before, chain = chain, self._scan()
        return chain

    def _scan(self) -> list[tuple[str, tuple[int, int]]]:
        directory, name = os.path.split(self._path)
        try:
            entries = os.listdir(directory)
        except FileNotFoundError:
            return []
        suffixes = [entry[len(name) + 1 :] for entry in entries if entry.startswith(f"{name}.")]
        numbers = [int(suffix) for suffix in suffixes if suffix.isdigit()]
        paths = [f"{self._path}.{number}" for number in sorted(numbers, reverse=True)] + [self._path]
        chain = []
        for path in paths:
            try:
                chain.append((path, _identity(os.stat(path))))
            except FileNotFoundError:
                continue
        return chain


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class Records:
    """Turns json-file records into what the process wrote, piece by piece: half a record waits for its rest.

    Only those with times from `since` to `until` (as in the records) count; `stamped` puts the time before each line.
    A record that cannot be read is passed on as it is.
    """

    STAMP = len("2026-01-02T03:04:05.123456789Z ")

    def __init__(self, since: str = "", until: str = "", *, stamped: bool = False) -> None:
        self._since, self._until = since, until
        self._stamped = stamped
        self._rest = b""
        self._at_start = True  # of a line
        self._convert = self._select if since or until or stamped else _text

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The text of `chunks`, which go on from those before; b"" where another file begins."""
        for chunk in chunks:
            if not chunk:
                self._rest = b""  # another file: half a record stays half
                continue
            *records, self._rest = (self._rest + chunk).split(b"\n")
            yield b"".join(map(self._convert, records))

    def _select(self, record: bytes) -> bytes:
        try:
            entry = json.loads(record)
            moment, text = str(entry["time"]), _bytes(entry)
        except (ValueError, KeyError, TypeError):
            return _text(record)
        if moment < self._since or (self._until and moment > self._until):
            return b""
        if not self._stamped or not text:
            return text
        at_start, self._at_start = self._at_start, text.endswith(b"\n")
        return moment.encode() + b" " + text if at_start else text


def _text(record: bytes) -> bytes:
    if not record:
        return b""
    try:
        return _bytes(json.loads(record))
    except (ValueError, KeyError, TypeError):
        return record + b"\n"


def _bytes(entry: Any) -> bytes:
    return str(entry["log"]).encode("utf-8", "surrogateescape")


def trim(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text without newlines at both ends, and one newline after it; nothing for nothing."""
    started, held = False, 0
    for chunk in chunks:
        text = chunk if started else chunk.lstrip(b"\n")
        body = text.rstrip(b"\n")
        if body:
            yield b"\n" * held + body
            started, held = True, 0
        held += len(text) - len(body)
    if started:
        yield b"\n"


def last_lines(chunks: Iterable[bytes], count: int, *, margin: int = 0, end: bytes = b"\n") -> Iterator[bytes]:
    """The last `count` lines that are not empty after `margin` bytes; `end` follows one that has no newline."""
    from collections import deque

    lines: deque[bytes] = deque(maxlen=count)
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        lines.extend(line + b"\n" for line in whole if len(line) > margin)
    if len(rest) > margin:
        lines.append(rest + end)
    yield from lines
