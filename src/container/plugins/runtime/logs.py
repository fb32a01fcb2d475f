"""The container's log: docker's json-file format, rotated by size.

One JSON object a line: `{"log":"text\\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`. A line longer
than PARTIAL bytes, or not ended within PATIENCE, is split; only its last record ends in a newline. A byte that is not
UTF-8 is the lone surrogate U+DC00 plus its value, escaped, as PEP 383 has it. The newest records are in `path`, older
ones in `path.1`, `path.2` …
"""

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable
from json.encoder import encode_basestring  # in C: quotes and escapes a str

LIMIT = 10 * 1024 * 1024  # bytes a file
FILES = 3
PARTIAL = 16 * 1024  # docker's limit for one record, bytes
PATIENCE = 0.2  # seconds that the beginning of a line waits for its end

_MARK = "\x7f"  # stands for a newline while a chunk is escaped; DEL is the one control character that JSON leaves alone
_UNFINISHED = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")

_log = logging.getLogger(__name__)


class LogWriter:
    """Writes one container's log. A full disk loses records, never the container: `write` does not raise OSError."""

    def __init__(
        self,
        path: str,
        limit: int = LIMIT,
        files: int = FILES,
        call_later: "Callable[[float, Callable[[], None]], object] | None" = None,
    ) -> None:
        """Begin a new log; what an earlier run left in `path` and its rotated files is removed. Raises OSError.

        `call_later` is an event loop's; without one a line without end waits for `close`.
        """
        self._path, self._limit, self._files = path, limit, files
        self._call_later = call_later
        self._waiting = False  # for `_flush` to be called
        self._open_lines: dict[str, bytes] = {}
        self._second, self._second_text = -1, ""
        self._losing = False
        for number in range(1, files):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}.{number}")
        self._fd = self._create()

    def write(self, data: bytes, stream: str) -> None:
        """Log what `stream` (`stdout` or `stderr`) gave. A last line without a newline waits a moment for its end."""
        data = self._open_lines.pop(stream, b"") + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) >= PARTIAL:
            unfinished = _UNFINISHED.search(rest)
            end = len(data) - (len(unfinished.group()) if unfinished else 0)
        if end < len(data):
            self._open_lines[stream] = data[end:]
            if not self._waiting and self._call_later is not None:
                self._waiting = True
                self._call_later(PATIENCE, self._flush)
        if end:
            self._append(encode(data[:end], stream, self._now()))

    def end(self, stream: str) -> None:
        """Log the last line of a stream, which has no newline."""
        rest = self._open_lines.pop(stream, b"")
        if rest:
            self._append(encode(rest, stream, self._now()))

    def _flush(self) -> None:
        self._waiting = False
        for stream in list(self._open_lines):
            self.end(stream)

    def close(self) -> None:
        """Write what waits, close the file."""
        self._flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, records: bytes | memoryview) -> None:
        if self._fd < 0:
            return
        try:
            if self._size and self._size + len(records) > self._limit:
                self._rotate()
            view = memoryview(b"\n" + records if self._losing else records)
            while view:
                written = os.write(self._fd, view)
                self._size += written
                view = view[written:]
            self._losing = False
        except OSError as error:
            if not self._losing:
                _log.warning("cannot write the log %s: %s", self._path, error.strerror)
            self._losing = True  # the next record begins a new line, whatever half of one is there

    def _rotate(self) -> None:
        # The name is freed before it is taken: ext4 writes out a file at once when it is renamed over another one.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path if self._files == 1 else f"{self._path}.{self._files - 1}")
        for number in range(self._files - 1, 0, -1):
            source = self._path if number == 1 else f"{self._path}.{number - 1}"
            with contextlib.suppress(FileNotFoundError):
                os.rename(source, f"{self._path}.{number}")
        fresh = self._create()
        os.close(self._fd)
        self._fd = fresh

    def _create(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._size = 0
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _now(self) -> str:
        second, nanoseconds = divmod(time.time_ns(), 10**9)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{nanoseconds:09d}Z"


def encode(data: bytes, stream: str, now: str) -> "bytes | memoryview":
    """Records for `data`, one a line: all lines at once and few copies, for short lines grow 36-fold."""
    text = data.decode("utf-8", "surrogateescape")
    ended = text.endswith("\n")
    head, tail = b'{"log":"', f'","stream":"{stream}","time":"{now}"}}\n'.encode()
    between = b"\\n" + tail + head
    if _MARK in text:
        body = between.join(_quote(line) for line in text[: -1 if ended else None].split("\n"))
    else:
        marked = _quote(text.replace("\n", _MARK))
        if ended:
            records = (_MARK.encode() + marked).replace(_MARK.encode(), between)
            return memoryview(records)[len(between) - len(head) : len(records) - len(head)]
        body = marked.replace(_MARK.encode(), between)
    return b"".join((head, body, b"\\n" if ended else b"", tail))


def _quote(text: str) -> bytes:
    """The inside of a JSON string. `backslashreplace` meets lone surrogates only, and spells them as JSON does."""
    return encode_basestring(text)[1:-1].encode("utf-8", "backslashreplace")
