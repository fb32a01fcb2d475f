"""Making a squashfs from a tar stream with sqfstar(1), and giving its root directory an owner.

What sqfstar does not do (seen in 4.5.1), and what is done about it: it takes the first of two members with one name,
and ends on a directory that becomes a file (`layertree` resolves both before), it crashes on a hard link to nothing
(refused before), and it gives the root directory the caller's ids, the current time and no xattrs, whatever it is told.
Inodes are therefore stored uncompressed, which also reads faster, and `set_root` writes into the root's inode; ids and
xattrs that are to be written there are brought into the tables by `marks`.
"""

import contextlib
import fcntl
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator

from container.errors import ContainerError, ErrorCode, internal, os_reason
from container.oci.tarheader import CHARACTER, Entry

_OPTIONS = ("-comp", "lz4", "-noI", "-exports", "-mkfs-time", "0", "-quiet", "-no-progress")
_MEMORY = "512M"
_PIPE_SIZE = 1 << 20
_FLUSH = 1 << 17
_MAX_PIECES = 512  # writev(2): at most IOV_MAX, 1024
_SUPERBLOCK = struct.Struct("<5I6H8Q")
_MAGIC = 0x73717368
_METADATA = 8192  # bytes of a metadata block; two bytes of header go before it
_UNCOMPRESSED = 0x8000
_REFERENCES = _METADATA // 8  # in a block of the export table
_LONG_DIRECTORY, _LONG_CHARACTER = 8, 12  # kinds of inodes that can have xattrs, and where: 32 bits
_DIRECTORY_XATTRS, _CHARACTER_XATTRS = 36, 24
_MARK, _MARK_TIME = b".container-root-", 1
_FILLERS = 40  # directory entries of 250 bytes: more than 8 KiB of them make the inode a long one


class Writer:
    """The input of a running sqfstar: collects small writes. What is written must not change afterwards."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        self._fd = process.stdin.fileno()
        self._pending: list[bytes | memoryview] = []
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes to the stream. Raises BrokenPipeError when sqfstar has ended."""
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _FLUSH or len(self._pending) >= _MAX_PIECES:
            self.flush()

    def flush(self) -> None:
        """Hand over what is collected."""
        pieces, self._pending, self._size = self._pending, [], 0
        while pieces:
            done = os.writev(self._fd, pieces)
            at = 0
            while at < len(pieces) and done >= len(pieces[at]):
                done -= len(pieces[at])
                at += 1
            pieces = [memoryview(pieces[at])[done:], *pieces[at + 1 :]] if at < len(pieces) else []


class Sqfstar:
    """A running sqfstar that makes `path`. Use as a context manager: leaving it before `finish` kills and cleans up."""

    def __init__(self, path: str, what: str) -> None:
        """`what` names the layer in messages. Raises ContainerError(unsupported) when sqfstar is not there."""
        self._path = path
        self._what = what
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Sqfstar":
        with contextlib.ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile())
            stack.callback(_unlink, self._path)
            self._process = stack.enter_context(_running(self._path, self._log.fileno()))
            self.writer = Writer(self._process)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def finish(self) -> None:
        """End the stream and wait for the image, which then stays. Raises ContainerError(internal)."""
        with contextlib.suppress(BrokenPipeError):
            self.writer.flush()
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            raise self.failure()
        self._stack.pop_all()
        self._log.close()

    def failure(self) -> ContainerError:
        """Why sqfstar ended."""
        status = self._process.wait()
        self._log.seek(0)
        text = " ".join(self._log.read(2000).decode(errors="replace").split())
        return internal(f"cannot make the squashfs of {self._what}: sqfstar ended with status {status}: {text}")


@contextlib.contextmanager
def _running(path: str, log: int) -> Iterator["subprocess.Popen[bytes]"]:
    processors = len(os.sched_getaffinity(0))
    try:
        process = subprocess.Popen(
            ["sqfstar", *_OPTIONS, "-processors", str(processors), "-mem", _MEMORY, "-root-mode", "0755", path],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            bufsize=0,
        )
    except FileNotFoundError as error:
        raise ContainerError(
            ErrorCode.UNSUPPORTED, "cannot unpack images: sqfstar is not there: install the package squashfs-tools"
        ) from error
    except OSError as error:
        raise internal(f"cannot start sqfstar: {os_reason(error)}") from error
    try:
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # a user's pipe quota; the default size works, too
            fcntl.fcntl(process.stdin.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def marks(root: Entry, ids: set[int]) -> Iterator[Entry]:
    """What an image with the owners `ids` has to have besides, for `set_root`: whiteouts, which no overlay shows."""
    if root.xattrs or not {root.uid, root.gid} <= ids:
        yield _whiteout(b"owner", root)
    if root.xattrs:
        yield from (_whiteout(b"%0230d" % number, Entry(b"")) for number in range(_FILLERS))


def _whiteout(name: bytes, like: Entry) -> Entry:
    return Entry(
        _MARK + name, CHARACTER, mode=0, uid=like.uid, gid=like.gid, mtime=_MARK_TIME, xattrs=dict(like.xattrs)
    )


def set_root(path: str, root: Entry) -> None:
    """Give the root directory of a squashfs with uncompressed inodes the mode, owner, time and xattrs of `root`.

    The image must have the `marks`. Raises ContainerError(internal). Format: fs/squashfs/squashfs_fs.h.
    """
    with open(path, "r+b") as image:
        fields = _SUPERBLOCK.unpack(image.read(_SUPERBLOCK.size))
        ids, reference, id_table, inode_table = fields[8], fields[11], fields[13], fields[15]
        image.seek(id_table)
        (first,) = struct.unpack("<Q", image.read(8))
        known = struct.unpack(f"<{ids}I", _metadata(image.fileno(), first, 0, 4 * ids))
        if fields[0] != _MAGIC or root.uid not in known or root.gid not in known:
            raise internal(f"cannot set the owner of the root directory in {path}")
        block, offset = inode_table + (reference >> 16), reference & 0xFFFF
        kind = struct.unpack("<H", _metadata(image.fileno(), block, offset, 2))[0]
        inode = struct.pack(
            "<HHHHI", kind, root.mode & 0o7777, known.index(root.uid), known.index(root.gid), root.mtime
        )
        _overwrite(image.fileno(), block, offset, inode)
        if root.xattrs:
            xattrs = _marked_xattrs(image.fileno(), fields)
            if kind != _LONG_DIRECTORY or xattrs is None:
                raise internal(f"cannot set the extended attributes of the root directory in {path}")
            _overwrite(image.fileno(), block, offset + _DIRECTORY_XATTRS, xattrs)
        os.fsync(image.fileno())


def _marked_xattrs(fd: int, superblock: tuple[int, ...]) -> bytes | None:
    """The reference to the mark's xattrs; the export table leads to all inodes."""
    count, inode_table, export_table = superblock[1], superblock[15], superblock[18]
    for first in range(0, count, _REFERENCES):
        (block,) = struct.unpack("<Q", os.pread(fd, 8, export_table + first // _REFERENCES * 8))
        here = min(count - first, _REFERENCES)
        for reference in struct.unpack(f"<{here}Q", _metadata(fd, block, 0, 8 * here)):
            place = inode_table + (reference >> 16), reference & 0xFFFF
            kind, mode, _, _, time = struct.unpack("<HHHHI", _metadata(fd, *place, 12))
            if (kind, mode, time) == (_LONG_CHARACTER, 0, _MARK_TIME):
                return _metadata(fd, *place, _CHARACTER_XATTRS + 4)[_CHARACTER_XATTRS:]
    return None


def _overwrite(fd: int, block: int, offset: int, data: bytes) -> None:
    """Write over uncompressed metadata."""
    done = 0
    for position, length in _pieces(block, offset, len(data)):
        os.pwrite(fd, data[done : done + length], position)
        done += length


def _metadata(fd: int, block: int, offset: int, count: int) -> bytes:
    """Bytes of consecutive uncompressed metadata blocks, the first of which begins at `block`."""
    (header,) = struct.unpack("<H", os.pread(fd, 2, block))
    if not header & _UNCOMPRESSED:
        raise internal("cannot use the layer that sqfstar made: its inodes are compressed")
    return b"".join(os.pread(fd, length, position) for position, length in _pieces(block, offset, count))


def _pieces(block: int, offset: int, count: int) -> Iterator[tuple[int, int]]:
    """Where `count` bytes from `offset` lie in the file, in (position, length): metadata blocks have headers."""
    while count > 0:
        inside = offset % _METADATA
        length = min(count, _METADATA - inside)
        yield block + offset // _METADATA * (_METADATA + 2) + 2 + inside, length
        offset += length
        count -= length


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
