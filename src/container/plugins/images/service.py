"""The image store of one system: content, layers and disks below `<app root>/images`."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from container.errors import internal, os_reason
from container.model.event import ImageEvent, PrepareEvent
from container.model.image import DeleteResult, Image, Platform, PruneResult
from container.model.system import ResourceUsage
from container.oci.content import ContentStore
from container.oci.layers import LayerStore
from container.oci.partial import PartialStore
from container.oci.registry.client import RegistryClient
from container.oci.registry.credentials import Sources
from container.oci.registry.endpoints import Settings
from container.oci.registry.transport import Patience
from container.oci.rootfs import DiskStore
from container.paths import Roots
from container.plugins.images import usage
from container.plugins.images.catalog import Catalog
from container.plugins.images.commit import Commits
from container.plugins.images.download import Downloads
from container.plugins.images.prepare import Preparer
from container.plugins.images.pull import Puller
from container.plugins.images.push import Pusher
from container.plugins.images.registries import RegistryLogins
from container.plugins.images.tasks import Flights
from container.plugins.images.transfer import Transfers
from container.plugins.images.unpack import Unpacker
from container.store import atomic, locks


class ImageService:
    """What `io.container.Images` offers, in model types. Made by `opened`."""

    def __init__(
        self,
        content: ContentStore,
        catalog: Catalog,
        unpacker: Unpacker,
        downloads: Downloads,
        client: RegistryClient,
    ) -> None:
        self._catalog = catalog
        self._downloads = downloads
        self._transfers = Transfers(content, catalog, unpacker)
        self._puller = Puller(content, catalog, unpacker, downloads, client)
        self._pusher = Pusher(content, catalog, client)
        self._preparer = Preparer(content, catalog, unpacker, self._puller)
        self.registries = RegistryLogins(client)
        self.commits = Commits(content, catalog, unpacker)

    async def images(self) -> list[Image]:
        """Every image, sorted by reference."""
        return await self._catalog.images()

    async def get(self, reference: str) -> Image:
        """One image. Raises ContainerError(notFound)."""
        return await self._catalog.get(reference)

    async def load(self, fd: int, force: bool, report: Callable[[ImageEvent], None]) -> ImageEvent:
        """Read an archive (`Transfers.load`)."""
        return await self._transfers.load(fd, force, report)

    async def save(
        self, fd: int, references: list[str], platform: Platform | None, report: Callable[[ImageEvent], None]
    ) -> ImageEvent:
        """Write an archive (`Transfers.save`)."""
        return await self._transfers.save(fd, references, platform, report)

    async def tag(self, source: str, target: str) -> str:
        """Another name for an image; returns the full reference."""
        return await self._catalog.tag(source, target)

    async def delete(self, references: list[str], *, every: bool, force: bool) -> DeleteResult:
        """Remove names and what only they referred to (`Catalog.delete`)."""
        return await self._catalog.delete(references, every=every, force=force)

    async def pull(
        self,
        reference: str,
        platform: Platform | None,
        scheme: str,
        concurrent: int,
        report: Callable[[ImageEvent], None],
    ) -> ImageEvent:
        """Fetch an image (`Puller.pull`)."""
        return await self._puller.pull(
            reference, platform, scheme, concurrent, lambda progress: report(ImageEvent(progress))
        )

    async def prepare(
        self,
        reference: str,
        platform: Platform,
        report: Callable[[PrepareEvent], None],
        scheme: str | None = None,
        concurrent: int = 3,
    ) -> PrepareEvent:
        """Make one platform of an image bootable (`Preparer.prepare`)."""
        return await self._preparer.prepare(reference, platform, report, scheme, concurrent)

    async def push(
        self, reference: str, platform: Platform | None, scheme: str, report: Callable[[ImageEvent], None]
    ) -> ImageEvent:
        """Send an image (`Pusher.push`)."""
        return await self._pusher.push(reference, platform, scheme, lambda progress: report(ImageEvent(progress)))

    async def prune(self, *, every: bool) -> PruneResult:
        """Remove names that no container uses (`Catalog.prune`), and what is left of pulls that broke off."""
        pruned = await self._catalog.prune(every=every)
        return replace(pruned, reclaimed=pruned.reclaimed + await self._downloads.expire(0))

    async def disk_usage(self) -> ResourceUsage:
        """What the store takes on disk (`Catalog.disk_usage`), unfinished downloads included."""
        usage, (size, unused) = await self._catalog.disk_usage(), await self._downloads.size()
        return replace(usage, size_in_bytes=usage.size_in_bytes + size, reclaimable=usage.reclaimable + unused)

    async def repair(self, roots: Roots) -> None:
        """Remove what a crash left: unusable files, and content that no name and no container's bundle refers to."""
        await self._catalog.check()
        await self._catalog.sweep(lambda: usage.on_disk(roots))


@asynccontextmanager
async def opened(
    roots: Roots,
    domain: str,
    settings: Settings | None = None,
    sources: Sources | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[ImageService]:
    """The image store of `roots`, for one process at a time. `sources` of credentials default to this user's.

    Raises ContainerError: invalidState when another process has it, internalError when it cannot be made.
    """
    directory = os.path.join(roots.app, "images")
    layers, disks, partials = (os.path.join(directory, name) for name in ("layers", "disks", "partial"))
    with contextlib.ExitStack() as stack:
        try:
            for path in (directory, layers, disks, partials):
                os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise internal(f"cannot create the image store {directory}: {os_reason(error)}") from error
        stack.enter_context(locks.locked(os.path.join(directory, ".lock"), wait=False))
        content = ContentStore(directory)
        content.open()
        for path in (layers, disks, partials):
            atomic.sweep(path)
        sources = sources or Sources.of_user(os.path.join(os.path.dirname(roots.config), "config.json"))
        async with RegistryClient(sources, settings or Settings(), patience) as client, Flights() as flights:
            layer_store, disk_store = LayerStore(layers), DiskStore(disks)
            catalog = Catalog(content, layer_store, disk_store, domain=domain, usage=lambda: usage.containers(roots))
            downloads = Downloads(content, PartialStore(partials), flights)
            unpacker = Unpacker(content, layer_store, disk_store, flights)
            yield ImageService(content, catalog, unpacker, downloads, client)
