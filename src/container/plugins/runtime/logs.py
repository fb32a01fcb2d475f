"""The container's log: docker's json-file format, rotated by size.

One JSON object a line: `{"log":"text\\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`. A line longer
than PARTIAL bytes is split; only its last record ends in a newline. Bytes that are not UTF-8 become U+FFFD. The newest
records are in `path`, older ones in `path.1`, `path.2` …
"""

import contextlib
import logging
import os
import re
import time
from json.encoder import encode_basestring  # in C: quotes and escapes a str

LIMIT = 10 * 1024 * 1024  # bytes a file
FILES = 3
PARTIAL = 16 * 1024  # docker's limit for one record, bytes

_MARK = "\x7f"  # stands for a newline while a chunk is escaped; DEL is the one control character that JSON leaves alone
_UNFINISHED = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")

_log = logging.getLogger(__name__)


class LogWriter:
    """Writes one container's log. A full disk loses records, never the container: `write` does not raise OSError."""

    def __init__(self, path: str, limit: int = LIMIT, files: int = FILES) -> None:
        """Begin a new log; what an earlier run left in `path` and its rotated files is removed. Raises OSError."""
        self._path, self._limit, self._files = path, limit, files
        self._open_lines: dict[str, bytes] = {}
        self._second, self._second_text = -1, ""
        self._losing = False
        for number in range(1, files):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}.{number}")
        self._fd = self._create()

    def write(self, data: bytes, stream: str) -> None:
        """Log what `stream` (`stdout` or `stderr`) gave. A last line without a newline waits for its end."""
        data = self._open_lines.pop(stream, b"") + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) >= PARTIAL:
            unfinished = _UNFINISHED.search(rest)
            end = len(data) - (len(unfinished.group()) if unfinished else 0)
        if end < len(data):
            self._open_lines[stream] = data[end:]
        if end:
            self._append(encode(data[:end], stream, self._now()))

    def end(self, stream: str) -> None:
        """Log the last line of a stream that has ended without a newline."""
        rest = self._open_lines.pop(stream, b"")
        if rest:
            self._append(encode(rest, stream, self._now()))

    def close(self) -> None:
        """Write what waits, close the file."""
        for stream in list(self._open_lines):
            self.end(stream)
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
    text = data.decode("utf-8", "replace")
    ended = text.endswith("\n")
    head, tail = b'{"log":"', f'","stream":"{stream}","time":"{now}"}}\n'.encode()
    between = b"\\n" + tail + head
    if _MARK in text:
        body = between.join(
            encode_basestring(line)[1:-1].encode() for line in text[: -1 if ended else None].split("\n")
        )
    else:
        marked = encode_basestring(text.replace("\n", _MARK))[1:-1].encode()
        if ended:
            records = (_MARK.encode() + marked).replace(_MARK.encode(), between)
            return memoryview(records)[len(between) - len(head) : len(records) - len(head)]
        body = marked.replace(_MARK.encode(), between)
    return b"".join((head, body, b"\\n" if ended else b"", tail))
