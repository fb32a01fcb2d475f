"""Decompression of streams, by magic number: gzip in this process, zstd by zstd(1), anything else as it is.

gzip goes through ISA-L, which takes less than half of zlib's time; where there is no build of it, through zlib.
"""

import contextlib
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, os_reason

try:
    from isal import isal_zlib

    _decompressobj: Callable[[int], Any] = isal_zlib.decompressobj
    _ERRORS: Any = (zlib.error, isal_zlib.error)
except ImportError:
    _decompressobj, _ERRORS = zlib.decompressobj, zlib.error

Read = Callable[[], bytes]  # the next bytes of a stream, any number of them; b"" at its end

CHUNK = 1 << 18
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_REFUSED = {b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4"}
_LIMIT = 1 << 20  # bytes that one call of the decompressor may return


def kind_of(magic: bytes) -> str:
    """`gzip`, `zstd` or `""` (plain) for the first bytes of a stream."""
    if magic.startswith(_GZIP):
        return "gzip"
    return "zstd" if magic.startswith(_ZSTD) else ""


@contextlib.contextmanager
def decompressed(read: Read, what: str) -> Iterator[Read]:
    """A reader of the plain form of a stream; `what` names the stream in messages.

    Raises ContainerError: invalidArgument for corrupt data, unsupported for xz, bzip2 and lz4 and without zstd(1).
    """
    first = read()
    while 0 < len(first) < 8 and (more := read()):
        first += more
    source = _prepended(first, read)
    for magic, name in _REFUSED.items():
        if first.startswith(magic):
            raise ContainerError(
                ErrorCode.UNSUPPORTED, f"{what} is compressed with {name}; gzip and zstd are supported"
            )
    kind = kind_of(first)
    if kind == "gzip":
        yield _gunzip(source, what)
    elif kind == "zstd":
        with _unzstd(source, what) as plain:
            yield plain
    else:
        yield source


def _prepended(first: bytes, read: Read) -> Read:
    pending = [first]

    def next_bytes() -> bytes:
        return pending.pop() if pending else read()

    return next_bytes


def _gunzip(read: Read, what: str) -> Read:
    chunks = _members(read, what)
    return lambda: next(chunks, b"")


def _members(read: Read, what: str) -> Iterator[bytes]:
    """The contents of one gzip member after the other (RFC 1952, 2.2); zeros may fill the end."""
    data = read()
    while data:
        member = _decompressobj(31)
        try:
            while not member.eof:
                if not data and not (data := read()):
                    raise invalid_argument(f"{what} is corrupt: its gzip data ends too early")
                if plain := member.decompress(data, _LIMIT):
                    yield plain
                data = member.unconsumed_tail
        except _ERRORS as error:
            raise invalid_argument(f"{what} is corrupt: {error}") from error
        data = member.unused_data
        while not (data := data.lstrip(b"\0")) and (data := read()):
            pass


@contextlib.contextmanager
def _unzstd(read: Read, what: str) -> Iterator[Read]:
    try:
        process = subprocess.Popen(
            ["zstd", "-dcq", "--single-thread"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    except FileNotFoundError as error:
        raise ContainerError(
            ErrorCode.UNSUPPORTED, f"{what} is compressed with zstd, and zstd is not there: install the package zstd"
        ) from error
    except OSError as error:
        raise internal(f"cannot start zstd to decompress {what}: {os_reason(error)}") from error
    feeder = _Feeder(read, process)
    try:
        yield lambda: feeder.plain(what)
    finally:
        process.kill()
        process.wait()
        feeder.join()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


class _Feeder(threading.Thread):
    """Writes the compressed stream to a process, while its owner reads the plain one."""

    def __init__(self, read: Read, process: "subprocess.Popen[bytes]") -> None:
        super().__init__(name="zstd-feeder", daemon=True)
        self._read = read
        self._process = process
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            while data := self._read():
                view = memoryview(data)
                while view:
                    view = view[pipe.write(view) :]
        except BrokenPipeError:
            pass  # its exit status says why
        except BaseException as error:
            self._error = error
        finally:
            with contextlib.suppress(OSError):
                pipe.close()

    def plain(self, what: str) -> bytes:
        """The next plain bytes. Raises what the feeding thread raised, or ContainerError(invalidArgument)."""
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        data: bytes = stdout.read(CHUNK)
        if not data:
            self.join()
            if self._error is not None:
                raise self._error
            if self._process.wait():
                text = stderr.read(400).decode(errors="replace").strip()
                raise invalid_argument(f"{what} is corrupt: {text}")
        return data
