"""Reading a tar from a stream, header by header, in bounded memory: no seeking, no index, data in chunks.

`TarReader` understands v7, ustar, pax and GNU tars, with GNU sparse files in all their formats, which it expands: holes
are yielded as zeros. Names come as stored; whoever uses them cleans them.
"""

from collections.abc import Callable, Iterator

from container.errors import ContainerError, invalid_argument
from container.oci import tarheader
from container.oci.tarheader import BLOCK, ZERO_BLOCK, Entry, show

Chunk = bytes | memoryview

MAX_EXTENSION = 1 << 20  # bytes of one pax header or GNU long name
_MAX_SEGMENTS = 1 << 16
_ZEROS = bytes(1 << 18)
_SPARSE_NAME, _SPARSE_REAL, _SPARSE_SIZE = b"GNU.sparse.name", b"GNU.sparse.realsize", b"GNU.sparse.size"
_SPARSE_MAJOR = b"GNU.sparse.major"

Segments = list[tuple[int, int]]


class TarReader:
    """Iterate over it for entries; `data()` yields the current entry's data, what is not taken is skipped.

    `read()` returns the next bytes of the stream, any number of them, and `b""` at its end. Raises
    ContainerError(invalidArgument) for what is not a tar and for one that ends too early.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._buffer = b""
        self._at = 0
        self._left = 0  # bytes of the current entry that are still in the stream, padding included
        self._stored = 0  # the same without padding
        self._segments: Segments | None = None
        self._size = 0
        self._globals: dict[bytes, bytes] = {}
        self._begun = False

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def data(self) -> Iterator[Chunk]:
        """The data of the current entry, once: exactly `entry.size` bytes."""
        if self._segments is None:
            yield from self._stored_bytes(self._stored)
            return
        position = 0
        for offset, length in self._segments:
            yield from _zeros(offset - position)
            yield from self._stored_bytes(length)
            position = offset + length
        yield from _zeros(self._size - position)

    def drain(self) -> None:
        """Read the stream to its end."""
        while self._read():
            pass

    def _next(self) -> Entry | None:
        self._finish_member()
        records, name, link = dict(self._globals), None, None
        while True:
            block = self._header()
            if block is None:
                return None
            entry = self._parsed(block)
            if entry.kind == tarheader.PAX:
                records.update(tarheader.parse_pax(self._extension(entry)))
            elif entry.kind == tarheader.PAX_GLOBAL:
                self._globals.update(tarheader.parse_pax(self._extension(entry)))
                records = {**self._globals, **records}
            elif entry.kind == tarheader.GNU_NAME:
                name = self._extension(entry).partition(b"\0")[0]
            elif entry.kind == tarheader.GNU_LINK:
                link = self._extension(entry).partition(b"\0")[0]
            else:
                break
        entry.name = entry.name if name is None else name
        entry.link = entry.link if link is None else link
        if records:
            tarheader.apply_pax(entry, records)
        self._begin(entry, block, records)
        return entry

    def _parsed(self, block: bytes) -> Entry:
        try:
            return tarheader.parse(block)
        except ContainerError as error:
            if self._begun:
                raise
            raise invalid_argument(f"this is not a tar file: {error.message}") from error
        finally:
            self._begun = True

    def _begin(self, entry: Entry, block: bytes, records: dict[bytes, bytes]) -> None:
        """Note how the data of `entry` lies in the stream; gives it its real size and kind."""
        self._segments = None
        if entry.kind not in (tarheader.REGULAR, tarheader.GNU_SPARSE):
            entry.size = 0  # headers of links, directories and devices are followed by no data, whatever they say
        self._stored, self._left = entry.size, entry.size + (-entry.size % BLOCK)
        if entry.kind == tarheader.GNU_SPARSE:
            entry.kind = tarheader.REGULAR
            self._sparse(entry, self._old_map(block), tarheader.octal(block[483:495], "size"))
        elif tarheader.SPARSE_MAP in records:
            numbers = _numbers(records[tarheader.SPARSE_MAP].strip(b",").split(b","))
            self._sparse(entry, _pairs(numbers), _numbers([records.get(_SPARSE_SIZE, b"0")])[0])
        elif records.get(_SPARSE_MAJOR) == b"1":
            self._sparse(entry, self._new_map(), _numbers([records.get(_SPARSE_REAL, b"0")])[0])
        if _SPARSE_NAME in records:
            entry.name = records[_SPARSE_NAME]

    def _sparse(self, entry: Entry, segments: Segments, size: int) -> None:
        position = 0
        for offset, length in segments:
            if offset < position or offset + length > size:
                raise invalid_argument(f"tar member {show(entry.name)} has a malformed sparse map")
            position = offset + length
        if sum(length for _, length in segments) != self._stored:
            raise invalid_argument(f"tar member {show(entry.name)} has a sparse map that does not fit its data")
        self._segments, self._size, entry.size = segments, size, size

    def _old_map(self, block: bytes) -> Segments:
        numbers: list[int] = []
        fields, more = block[386:482], block[482]
        while True:
            for at in range(0, len(fields) - 23, 24):
                if fields[at]:
                    numbers += [tarheader.octal(fields[at + half : at + half + 12], "sparse map") for half in (0, 12)]
            if not more or len(numbers) > 2 * _MAX_SEGMENTS:
                return _pairs(numbers)
            extension = self._take(BLOCK)
            fields, more = extension[:504], extension[504]

    def _new_map(self) -> Segments:
        """Format 1.0: decimal lines before the data, filled up to a block."""
        text = b""
        while True:
            if self._stored < BLOCK or len(text) > 48 * _MAX_SEGMENTS:
                raise invalid_argument("the tar file has a malformed sparse map")
            text += self._take(BLOCK)
            self._stored -= BLOCK
            self._left -= BLOCK
            lines = text.split(b"\n")
            if len(lines) > 1 and len(lines) > 2 * (count := _numbers(lines[:1])[0]) + 1:
                return _pairs(_numbers(lines[1 : 2 * count + 1]))

    def _header(self) -> bytes | None:
        """The next header block; None at the end: two zero blocks, or the stream ends between two entries."""
        block = self._take(BLOCK, end=True)
        if not block:
            return None
        if block != ZERO_BLOCK:
            return block
        second = self._take(BLOCK, end=True)
        if second and second != ZERO_BLOCK:
            raise invalid_argument("the tar file has a lone zero block")
        return None

    def _extension(self, entry: Entry) -> bytes:
        if entry.size > MAX_EXTENSION:
            raise invalid_argument(f"the tar file has an extension header of {entry.size} bytes")
        return self._take(entry.size + (-entry.size % BLOCK))[: entry.size]

    def _stored_bytes(self, count: int) -> Iterator[Chunk]:
        while count:
            if self._at == len(self._buffer):
                self._fill()
            chunk = memoryview(self._buffer)[self._at : self._at + count]
            step = len(chunk)
            self._at += step
            self._left -= step
            self._stored -= step
            count -= step
            yield chunk

    def _finish_member(self) -> None:
        """Skip what is left of the current member; some writers leave out the padding of the last one."""
        count, padding = self._stored, self._left - self._stored
        self._left = self._stored = 0
        while count:
            if self._at == len(self._buffer):
                self._fill()
            step = min(count, len(self._buffer) - self._at)
            self._at += step
            count -= step
        if padding and len(self._buffer) - self._at >= padding:
            self._at += padding
        elif padding:
            self._take(padding, end=True)

    def _take(self, count: int, end: bool = False) -> bytes:
        """Exactly `count` bytes; with `end` also none, when the stream ends here."""
        at = self._at
        taken = self._buffer[at : at + count]
        self._at = at + len(taken)
        while len(taken) < count:
            self._buffer, self._at = self._read(), 0
            if not self._buffer:
                if end and not taken:
                    return b""
                raise _too_short()
            more = self._buffer[: count - len(taken)]
            self._at = len(more)
            taken += more
        return taken

    def _fill(self) -> None:
        self._buffer, self._at = self._read(), 0
        if not self._buffer:
            raise _too_short()


def _too_short() -> ContainerError:
    return invalid_argument("the tar file ends in the middle of a member")


def _zeros(count: int) -> Iterator[Chunk]:
    while count > 0:
        step = min(count, len(_ZEROS))
        yield memoryview(_ZEROS)[:step]
        count -= step


def _numbers(fields: list[bytes]) -> list[int]:
    try:
        numbers = [int(field) for field in fields if field]
    except ValueError:
        raise invalid_argument("the tar file has a malformed sparse map") from None
    if any(number < 0 for number in numbers) or len(numbers) > 2 * _MAX_SEGMENTS + 1:
        raise invalid_argument("the tar file has a malformed sparse map")
    return numbers or [0]


def _pairs(numbers: list[int]) -> Segments:
    return list(zip(numbers[::2], numbers[1::2], strict=False))
