"""Blobs that are being fetched: files named by digest that grow, are read while they grow, and outlive an interruption.

`Partial.append` writes and hashes; a `tail` follows the file in a thread of its own, however far the download is, and
sees its failure. What a file holds is worth nothing before `verify`: the digest is taken over all of it, also over what
an earlier process left.
"""

import contextlib
import errno
import hashlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, os_reason
from container.model.image import Descriptor
from container.oci.digest import hex_of
from container.oci.pipes import Cancellation
from container.store import atomic

_CHUNK = 1 << 20


class Damaged(Exception):
    """A blob was continued and came out wrong; it is gone, and fetching all of it may help."""


class PartialStore:
    """The unfinished blobs of one store, below `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, digest: str) -> str:
        """Where an unfinished blob is, or would be. Raises ContainerError(invalidArgument)."""
        return os.path.join(self.directory, hex_of(digest))

    def set_aside(self, seconds: float, keep: Iterable[str]) -> list[str]:
        """Rename what was not written to for that long, but the digests `keep`; returns the paths, for `remove`."""
        limit, found = time.time() - seconds, []
        for path, status in self._others(keep):
            if status.st_mtime <= limit:
                aside = atomic.sibling(path)
                with contextlib.suppress(FileNotFoundError):  # a download that is ending gave it up
                    os.rename(path, aside)
                    found.append(aside)
        return found

    def remove(self, paths: Iterable[str]) -> int:
        """Remove what was set aside; returns the bytes that this freed."""
        freed = 0
        for path in paths:
            freed += os.stat(path).st_blocks * 512
            os.unlink(path)
        return freed

    def size(self, but: Iterable[str] = ()) -> int:
        """Allocated bytes of all unfinished blobs but some digests."""
        return sum(status.st_blocks * 512 for _, status in self._others(but))

    def _others(self, digests: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
        kept = {hex_of(digest) for digest in digests}
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name not in kept and not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.path, entry.stat()


class Partial:
    """One download of one blob, which writes; any number of tails read."""

    def __init__(self, store: PartialStore, descriptor: Descriptor, final: str) -> None:
        """`final` is where the blob is after somebody moved it into the content store."""
        self.descriptor = descriptor
        self.path = store.path(descriptor.digest)
        self.received = 0
        self.complete = False
        self.error: BaseException | None = None
        self.resumed = False
        self._final = final
        self._fd = -1
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()  # of the listeners
        self._listeners: set[int] = set()

    def adopt(self) -> bool:
        """Take the blob from the content store, if somebody has put it there meanwhile; the file here goes."""
        with contextlib.suppress(OSError):
            if os.stat(self._final).st_size == self.descriptor.size:
                self.discard()  # else `commit` would put it in the place of the blob
                self.received, self.complete = self.descriptor.size, True
                self.notify()
        return self.complete

    def is_gone(self) -> bool:
        """Whether the blob was complete and was removed from the content store since."""
        return self.complete and not os.path.exists(self.path) and not os.path.exists(self._final)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Take up the blob where it is, once; tails see an error that leaves this. Call `rehash` first of all."""
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._fd).st_size
            if size > self.descriptor.size:
                os.ftruncate(self._fd, 0)
                size = 0
            self.received, self.resumed = size, size > 0
            yield
        except OSError as error:
            self.error = self._cannot_store(error)
            raise self.error from error
        except BaseException as error:
            self.error = error
            raise
        finally:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self.notify()

    def rehash(self, cancellation: Cancellation) -> None:
        """Take what is there already into the digest. Blocks."""
        position = 0
        while position < self.received:
            cancellation.check()
            data = os.pread(self._fd, min(_CHUNK, self.received - position), position)
            if not data:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._digest.update(data)
            position += len(data)

    def append(self, chunks: Sequence[bytes]) -> None:
        """Add bytes. Blocks. Raises ContainerError: internalError when they cannot be written (then the file goes)."""
        position = self.received
        try:
            for chunk in chunks:
                self._digest.update(chunk)
                with memoryview(chunk) as view:
                    done = 0
                    while done < len(view):
                        done += os.pwrite(self._fd, view[done:], position + done)
                position += len(chunk)
        except OSError as error:
            self.discard()
            raise self._cannot_store(error) from error
        self.received = position

    def verify(self) -> None:
        """Check size and digest of all that was received.

        Raises, and removes the file: Damaged when an earlier attempt's bytes are in it, ContainerError(invalidArgument)
        when the registry's are wrong.
        """
        found = f"sha256:{self._digest.hexdigest()}"
        if self.received != self.descriptor.size or found != self.descriptor.digest:
            self.discard()
            if self.resumed:
                raise Damaged
            raise invalid_argument(
                f"blob {self.descriptor.digest} is corrupt: "
                f"the registry sent {self.received} bytes with the digest {found}"
            )
        self.complete = True
        self.notify()

    def sync(self) -> None:
        """Make the file durable. Blocks."""
        os.fsync(self._fd)

    def discard(self) -> None:
        """Remove the file; what was received is lost."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def commit(self) -> None:
        """Move a complete blob into the content store, unless it is there. Raises ContainerError(internal)."""
        try:
            os.rename(self.path, self._final)
        except FileNotFoundError:
            if not os.path.exists(self._final):
                raise self.gone() from None
        except OSError as error:
            raise self._cannot_store(error) from error

    def notify(self) -> None:
        """Wake the tails."""
        with self._lock:
            for listener in self._listeners:
                os.eventfd_write(listener, 1)

    @contextlib.contextmanager
    def tail(self, cancellation: Cancellation) -> Iterator[Callable[[int], bytes]]:
        """A `read(count)` that waits for bytes to come, and returns none at the end of the whole blob.

        Raises what made the download fail; Cancelled.
        """
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with self._lock:
            self._listeners.add(event)
        try:
            with contextlib.closing(_Tail(self, event, cancellation)) as tail:
                yield tail.read
        finally:
            with self._lock:
                self._listeners.discard(event)
            os.close(event)

    def open(self) -> int:
        """A descriptor that reads what was received; -1 when it is not there any more."""
        for path in (self.path, self._final):
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._cannot_store(error) from error
        return -1

    def gone(self) -> ContainerError:
        """That the blob was complete and is not there any more."""
        return internal(f"blob {self.descriptor.digest} disappeared from the image store")

    def _cannot_store(self, error: OSError) -> ContainerError:
        return internal(f"cannot store blob {self.descriptor.digest}: {os_reason(error)}")


class _Tail:
    def __init__(self, partial: Partial, event: int, cancellation: Cancellation) -> None:
        self._partial = partial
        self._fd = -1  # opened when there is something to read: until then it may be another download's file
        self._event = event
        self._cancellation = cancellation
        self._position = 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, count: int) -> bytes:
        partial = self._partial
        while True:
            complete, error = partial.complete, partial.error  # before `received`: then that is all there will be
            available = partial.received - self._position
            if available > 0 and self._fd < 0:
                self._fd = partial.open()
            if available > 0 and self._fd >= 0:
                data = os.pread(self._fd, min(count, available), self._position)
                self._position += len(data)
                return data
            if complete and available > 0:
                raise partial.gone()
            if complete:
                return b""
            if error is not None:
                raise _unread(error)
            self._cancellation.wait_for(self._event, select.POLLIN)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._event)


def _unread(error: BaseException) -> BaseException:
    """What a reader raises when the download ended with `error`, which belongs to another task."""
    if isinstance(error, ContainerError):
        return error
    if isinstance(error, Damaged):
        return Damaged()
    return ContainerError(ErrorCode.INTERRUPTED, "cannot fetch the blob: its download was given up")
