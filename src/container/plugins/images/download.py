"""Blobs from registries: each fetched once however many want it, taken up where it was left."""

import asyncio
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model.image import Descriptor
from container.oci.content import ContentStore
from container.oci.partial import Partial, PartialStore
from container.oci.pipes import Cancellation
from container.oci.registry.repository import Body, Repository
from container.plugins.images.tasks import Flights, Ticket, cancellable, in_thread

_BLOCK = 1 << 20  # bytes that are written and hashed at a time
_PROGRESS = 1 << 16  # a connection that brought less than this brought nothing
_MAX_CONNECTIONS = 200

Watch = Callable[[int], None]


class Share:
    """A share in a download: what is there of the blob, and its end."""

    def __init__(self, partial: Partial, watchers: set[Watch], ticket: "Ticket[None]") -> None:
        self.partial = partial
        self._watchers = watchers
        self._ticket = ticket

    async def done(self) -> None:
        """Wait until the blob is complete, right and durable. Raises ContainerError; Damaged."""
        await self._ticket.result()

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Have `watch` called in the loop with the bytes received so far, now and then."""
        self._watchers.add(watch)
        try:
            yield
        finally:
            self._watchers.discard(watch)


class _Download:
    def __init__(self, partial: Partial) -> None:
        self.partial = partial
        self.watchers: set[Watch] = set()
        self.shares = 0


class Downloads:
    """The blobs under way of one store. Runs as long as `flights`."""

    def __init__(self, content: ContentStore, partials: PartialStore, flights: Flights) -> None:
        self._content = content
        self._partials = partials
        self._flights = flights
        self._current: dict[str, _Download] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def expire(self, seconds: float) -> int:
        """Remove unfinished blobs that nobody fetches and that are that old; returns the bytes that this freed."""
        gone = self._partials.set_aside(seconds, self._current)  # at once: nobody may take one up meanwhile
        return await in_thread(self._partials.remove, gone)

    async def size(self) -> tuple[int, int]:
        """Allocated bytes of all unfinished blobs, and of those that nobody fetches."""
        current = frozenset(self._current)
        return await in_thread(lambda: (self._partials.size(), self._partials.size(current)))

    def discard(self, blobs: Iterable[Descriptor]) -> None:
        """Remove what is kept of blobs that nobody fetches now."""
        for blob in blobs:
            if blob.digest not in self._current and not self._is_ending(blob.digest):
                Partial(self._partials, blob, self._content.path(blob.digest)).discard()

    def _is_ending(self, digest: str) -> bool:
        lock = self._locks.get(digest)
        return lock is not None and lock.locked()

    @contextmanager
    def join(self, repository: Repository, blob: Descriptor, slots: asyncio.Semaphore) -> Iterator[Share]:
        """A share in the download of a blob, which starts as soon as `slots` has room, unless it is under way."""
        download = self._current.get(blob.digest)
        if download is None or download.partial.is_gone():
            partial = Partial(self._partials, blob, self._content.path(blob.digest))
            download = self._current[blob.digest] = _Download(partial)
        elif download.partial.descriptor.size != blob.size:
            raise invalid_argument(f"blob {blob.digest} is said to have two sizes")
        joined = download
        joined.shares += 1
        try:
            key = f"blob {blob.digest} {id(joined)}"
            with self._flights.join(key, lambda: self._fly(repository, joined, slots)) as ticket:
                yield Share(joined.partial, joined.watchers, ticket)
        finally:
            joined.shares -= 1
            if not joined.shares:
                self._forget(joined)

    def _forget(self, download: _Download) -> None:
        digest = download.partial.descriptor.digest
        if self._current.get(digest) is download:
            del self._current[digest]

    async def _fly(self, repository: Repository, download: _Download, slots: asyncio.Semaphore) -> None:
        partial = download.partial
        lock = self._locks.setdefault(partial.descriptor.digest, asyncio.Lock())
        try:
            async with slots, lock:  # the lock: an earlier download of the blob may still be ending
                if await in_thread(partial.adopt):
                    return
                with partial.writing():
                    with Cancellation() as cancellation:
                        await cancellable(cancellation, lambda: partial.rehash(cancellation))
                    await _receive(repository, download)
                    partial.verify()
                    await in_thread(partial.sync)
        except BaseException:
            self._forget(download)  # who comes now starts anew
            raise


async def _receive(repository: Repository, download: _Download) -> None:
    """Fetch what is missing, over as many connections as it takes while there is progress."""
    partial, patience = download.partial, repository.client.patience
    failures, delay = 0, patience.first_delay
    for _ in range(_MAX_CONNECTIONS):
        before = partial.received
        if before == partial.descriptor.size:
            return
        try:
            async with repository.blob(partial.descriptor, before) as body:
                await _drain(body, download)
            error = _short(partial)
        except ContainerError as broken:
            if broken.code not in (ErrorCode.INTERRUPTED, ErrorCode.TIMEOUT):
                raise
            error = broken
        if partial.received - before >= _PROGRESS:
            failures, delay = 0, patience.first_delay
        failures += 2 if error.code is ErrorCode.TIMEOUT else 1
        if partial.received < partial.descriptor.size:
            if failures >= patience.attempts:
                raise error
            await asyncio.sleep(delay)
            delay = min(delay * 2, patience.longest_delay)
    raise _short(partial)


async def _drain(body: Body, download: _Download) -> None:
    """Write what one connection brings, but for what is there already."""
    partial = download.partial
    skip, blocks, count = partial.received - body.offset, [], 0
    try:
        async for chunk in body.chunks:
            if skip:
                dropped = min(skip, len(chunk))
                skip -= dropped
                chunk = chunk[dropped:]
            blocks.append(chunk)
            count += len(chunk)
            if partial.received + count > partial.descriptor.size:
                partial.discard()
                blocks.clear()
                raise invalid_argument(
                    f"blob {partial.descriptor.digest} is corrupt: the registry sends too many bytes"
                )
            if count >= _BLOCK:
                await _write(download, blocks)
                blocks, count = [], 0
    except ContainerError:
        await _write(download, blocks)
        raise
    await _write(download, blocks)


async def _write(download: _Download, blocks: list[bytes]) -> None:
    if blocks:
        await in_thread(download.partial.append, blocks)
        download.partial.notify()
        for watch in list(download.watchers):
            watch(download.partial.received)


def _short(partial: Partial) -> ContainerError:
    return ContainerError(
        ErrorCode.INTERRUPTED,
        f"blob {partial.descriptor.digest} ended after {partial.received} of {partial.descriptor.size} bytes",
    )
