"""Pulling an image: documents first, then all layers at once, each unpacked while it is fetched.

Until its layers are complete and right an image has no name; what was fetched by then stays as unfinished blobs, for
the next attempt. The documents and the layers' squashfs are pinned meanwhile, so that garbage collection leaves them.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from container.errors import ContainerError, ErrorCode, internal
from container.model import reference as references
from container.model.event import ImageEvent, Progress
from container.model.image import Descriptor, Platform
from container.oci.content import ContentStore
from container.oci.layerstream import Open, stored
from container.oci.partial import Damaged
from container.oci.registry.client import RegistryClient
from container.oci.registry.repository import Repository
from container.plugins.images.catalog import Catalog
from container.plugins.images.documents import DocumentFetch, Documents
from container.plugins.images.download import Downloads, Share
from container.plugins.images.pullprogress import TransferProgress
from container.plugins.images.tasks import all_of, in_thread
from container.plugins.images.unpack import Unpacker

STEPS = ("Fetching image", "Unpacking image")
_BLAMES_LAYER = (ErrorCode.INVALID_ARGUMENT, ErrorCode.UNSUPPORTED)
_ATTEMPTS = 3  # when what was kept turns out to be wrong
_KEPT = 24 * 3600.0  # seconds that an unfinished blob waits for another attempt


@dataclass(frozen=True)
class _Fetch:
    """One attempt; a `fresh` one makes no use of what earlier ones left."""

    repository: Repository
    concurrent: int
    fresh: bool


class Puller:
    """Pulls images into one store."""

    def __init__(
        self,
        content: ContentStore,
        catalog: Catalog,
        unpacker: Unpacker,
        downloads: Downloads,
        client: RegistryClient,
    ) -> None:
        self._content = content
        self._catalog = catalog
        self._unpacker = unpacker
        self._downloads = downloads
        self._client = client

    async def pull(
        self,
        text: str,
        platform: Platform | None,
        scheme: str,
        concurrent: int,
        report: Callable[[Progress], None],
    ) -> ImageEvent:
        """Fetch, unpack and name an image; the result has its full reference.

        Raises ContainerError as `DocumentFetch.fetch`, `Unpacker.disk` and `failures`; a name that was there stays.
        """
        name = references.normalise(text, self._catalog.domain)
        repository = Repository(self._client, references.parse(name), scheme)
        await self._downloads.expire(_KEPT)
        progress = TransferProgress(report, STEPS)
        try:
            for attempt in range(_ATTEMPTS):
                with contextlib.suppress(Damaged):
                    fetch = _Fetch(repository, max(concurrent, 1), fresh=attempt > 0)
                    await self._fetch(name, fetch, platform, progress)
                    return ImageEvent(references=[name])
        finally:
            progress.stop()
        raise internal(f"cannot pull {name}: what was fetched of it changes on the disk")

    async def _fetch(self, name: str, fetch: "_Fetch", platform: Platform | None, progress: TransferProgress) -> None:
        with self._content.ingest() as ingest:
            documents = await DocumentFetch(fetch.repository, ingest).fetch(references.parse(name), platform)
            async with self._catalog.added(ingest, documents.digests, [documents.top]):
                await self._layers(fetch, documents, progress)
                await self._catalog.name([(name, documents.top)])

    async def _layers(self, fetch: "_Fetch", documents: Documents, progress: TransferProgress) -> None:
        missing = await in_thread(lambda: [blob for blob in documents.blobs if not self._content.has(blob)])
        for layer in documents.blobs:
            progress.add(layer, here=layer not in missing)
        progress.tell()
        if fetch.fresh:
            self._downloads.discard(missing)
        repository, slots = fetch.repository, asyncio.Semaphore(fetch.concurrent)
        with contextlib.ExitStack() as stack:
            shares = {
                blob.digest: stack.enter_context(self._downloads.join(repository, blob, slots)) for blob in missing
            }
            for blob in missing:
                share = shares[blob.digest]
                if share.partial.received:  # another's download, which is under way
                    progress.moved(blob, share.partial.received)
                stack.enter_context(share.watched(_watcher(progress, blob)))
            source = _Source(self._content, self._downloads, repository, slots, self._unpacker, frozenset(shares))
            for variant in documents.variants:
                await self._unpacker.disk(variant, progress.unpacked, source)
            await all_of(share.done() for share in shares.values())
            await in_thread(self._commit, list(shares.values()))
        progress.close()

    def _commit(self, shares: list[Share]) -> None:
        for share in shares:
            share.partial.commit()
        self._content.sync()


class _Source:
    """Layers as they come from a registry, or from the store."""

    def __init__(
        self,
        content: ContentStore,
        downloads: Downloads,
        repository: Repository,
        slots: asyncio.Semaphore,
        unpacker: Unpacker,
        fetched: frozenset[str],
    ) -> None:
        self._content = content
        self._downloads = downloads
        self._repository = repository
        self._slots = slots
        self._unpacker = unpacker
        self._fetched = fetched
        self._builds = asyncio.Semaphore(len(os.sched_getaffinity(0)))

    @contextlib.asynccontextmanager
    async def reading(self, blob: Descriptor) -> AsyncIterator[Open]:
        """See `unpack.Source`. The build has a share of its own: it may outlive the pull that began it."""
        if blob.digest not in self._fetched:
            async with self._unpacker.stored.reading(blob) as opened:
                yield opened
            return
        async with self._builds:
            if self._content.has(blob):
                yield stored(self._content.path(blob.digest))
            else:
                with self._downloads.join(self._repository, blob, self._slots) as share:
                    try:
                        yield share.partial.tail
                    except ContainerError as error:
                        if error.code in _BLAMES_LAYER:  # is it the layer, or what the registry sent?
                            await share.done()
                        raise


def _watcher(progress: TransferProgress, blob: Descriptor) -> Callable[[int], None]:
    return lambda count: progress.moved(blob, count)
