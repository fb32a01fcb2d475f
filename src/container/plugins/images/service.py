"""The image store of one system: content, layers and disks below `<app root>/images`."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from container.errors import ContainerError, ErrorCode, internal, not_found
from container.model.event import ImageEvent, PrepareEvent, Progress
from container.model.image import DeleteResult, Image, ImageDescription, Platform, PruneResult, Rootfs, RootfsLayer
from container.model.system import ResourceUsage
from container.oci import image
from container.oci.content import ContentStore
from container.oci.layers import LayerStore
from container.oci.rootfs import DiskStore
from container.paths import Roots
from container.plugins.images import usage
from container.plugins.images.catalog import Catalog
from container.plugins.images.tasks import Flights, Meter, in_thread
from container.plugins.images.transfer import Transfers, no_platform
from container.plugins.images.unpack import Unpacker
from container.store import atomic, locks


class ImageService:
    """What `io.container.Images` offers, in model types. Made by `opened`."""

    def __init__(self, content: ContentStore, catalog: Catalog, unpacker: Unpacker) -> None:
        self._content = content
        self._catalog = catalog
        self._unpacker = unpacker
        self._transfers = Transfers(content, catalog, unpacker)

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

    async def prepare(self, reference: str, platform: Platform, report: Callable[[PrepareEvent], None]) -> PrepareEvent:
        """Make one platform of an image bootable; what is there is not made again.

        Raises ContainerError: notFound; unsupported when the image lacks the platform; as `Unpacker.disk`.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                name, descriptor = await stack.enter_async_context(self._catalog.pinned(reference))
            except ContainerError as error:
                if error.code is ErrorCode.NOT_FOUND:
                    raise not_found(
                        f"{error.message}: not in the image store; `container image load` adds it"
                    ) from error
                raise
            found = await in_thread(image.variants, self._content, descriptor)
            variant = image.choose(found, platform)
            if variant is None:
                raise no_platform(name, platform, found)
            total = sum(layer.size for layer in variant.layers)
            meter = Meter(
                lambda count: report(PrepareEvent(Progress("Unpacking image", bytes=count, total_bytes=total)))
            )
            disk, parts = await self._unpacker.disk(variant, meter.add)
            meter.close()
            self._catalog.handed_out(descriptor)
        layers = [RootfsLayer(number, part.diff_id, part.size) for number, part in enumerate(parts, 1)]
        config = variant.document.get("config")
        return PrepareEvent(
            rootfs=Rootfs(
                ImageDescription(name, descriptor),
                variant.platform,
                disk,
                layers,
                config if isinstance(config, dict) else {},
            )
        )

    async def prune(self, *, every: bool) -> PruneResult:
        """Remove names that no container uses (`Catalog.prune`)."""
        return await self._catalog.prune(every=every)

    async def disk_usage(self) -> ResourceUsage:
        """What the store takes on disk (`Catalog.disk_usage`)."""
        return await self._catalog.disk_usage()

    async def repair(self, roots: Roots) -> None:
        """Remove what a crash left: unusable files, and content that no name and no container's bundle refers to."""
        await self._catalog.check()
        await self._catalog.sweep(lambda: usage.on_disk(roots))


@asynccontextmanager
async def opened(roots: Roots, domain: str) -> AsyncIterator[ImageService]:
    """The image store of `roots`, for one process at a time.

    Raises ContainerError: invalidState when another process has it, internalError when it cannot be made.
    """
    directory = os.path.join(roots.app, "images")
    layers, disks = os.path.join(directory, "layers"), os.path.join(directory, "disks")
    with contextlib.ExitStack() as stack:
        try:
            for path in (directory, layers, disks):
                os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise internal(f"cannot create the image store {directory}: {error.strerror}") from error
        stack.enter_context(locks.locked(os.path.join(directory, ".lock"), wait=False))
        content = ContentStore(directory)
        content.open()
        for path in (layers, disks):
            atomic.sweep(path)
        async with Flights() as flights:
            layer_store, disk_store = LayerStore(layers), DiskStore(disks)
            catalog = Catalog(content, layer_store, disk_store, domain=domain, usage=lambda: usage.containers(roots))
            yield ImageService(content, catalog, Unpacker(content, layer_store, disk_store, flights))
