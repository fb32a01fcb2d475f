"""Archives in and out: `load` and `save`."""

import contextlib
from collections.abc import Callable

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model.event import ImageEvent, Progress
from container.model.image import Descriptor, Platform
from container.oci import archive, export, image, layout, pipes
from container.oci.content import ContentStore, Ingest
from container.oci.layout import Found
from container.plugins.images.catalog import Catalog
from container.plugins.images.tasks import Meter, cancellable, in_thread
from container.plugins.images.unpack import Unpacker

Report = Callable[[ImageEvent], None]


class Transfers:
    """Loads and saves the images of one store."""

    def __init__(self, content: ContentStore, catalog: Catalog, unpacker: Unpacker) -> None:
        self._content = content
        self._catalog = catalog
        self._unpacker = unpacker

    async def load(self, fd: int, force: bool, report: Report) -> ImageEvent:
        """Read an archive, unpack every platform, name the images; after a failure nothing of it is left.

        Raises ContainerError: what `archive.read`, `layout.images` and `Unpacker.disk` raise.
        """
        with pipes.Cancellation() as cancellation, self._content.ingest() as ingest:
            meter = Meter(_reporter(report, "Reading archive", 1, 2))
            contents = await cancellable(
                cancellation,
                lambda: archive.read(pipes.reader(fd, cancellation), ingest, force, meter.add),
            )
            meter.close()
            found = await in_thread(layout.images, contents, ingest)
            names = await self._take(found, ingest, report)
        return ImageEvent(references=names, rejected=contents.rejected or None)

    async def save(self, fd: int, texts: list[str], platform: Platform | None, report: Report) -> ImageEvent:
        """Write images to one archive.

        Raises ContainerError: notFound before anything is written, also for a platform that an image does not have;
        interrupted when the reader is gone; internalError.
        """
        if not texts:
            raise invalid_argument("cannot save images: none was named")
        async with contextlib.AsyncExitStack() as pins:
            exports = []
            for text in dict.fromkeys(texts):
                name, descriptor = await pins.enter_async_context(self._catalog.pinned(text))
                exports.append(await in_thread(self._export, name, descriptor, platform))
            meter = Meter(_reporter(report, "Saving images", 1, 1))
            with pipes.Cancellation() as cancellation:
                output = pipes.writer(fd, cancellation)
                await cancellable(cancellation, lambda: export.write(output, self._content, exports, meter.add))
            meter.close()
        return ImageEvent(references=[item.name for item in exports])

    def _export(self, name: str, descriptor: Descriptor, platform: Platform | None) -> export.Export:
        if platform is None:
            return export.whole(self._content, name, descriptor)
        found = image.variants(self._content, descriptor)
        variant = image.choose(found, platform)
        if variant is None:
            raise no_platform(name, platform, [item.platform for item in found])
        return export.limited(name, variant)

    async def _take(self, found: list[Found], ingest: Ingest, report: Report) -> list[str]:
        """Bring the images of a session into the store, whole or not at all; returns their names."""
        tops = [item.descriptor for item in found]
        digests = await in_thread(lambda: set().union(*(image.reachable(ingest, top) for top in tops)))
        async with self._catalog.added(ingest, digests, tops):
            variants = [variant for item in found for variant in item.variants if variant.platform.os == "linux"]
            total = sum(layer.size for variant in variants for layer in variant.layers)
            meter = Meter(_reporter(report, "Unpacking image", 2, 2, total))
            for variant in variants:
                await self._unpacker.disk(variant, meter.add)
            meter.close()
            domain = self._catalog.domain
            named = [
                (name, item.descriptor)
                for item in found
                for name in layout.full_reference(item.names, item.descriptor, domain)
            ]
            await self._catalog.name(named)
        return list(dict.fromkeys(name for name, _ in named))


def no_platform(name: str, platform: Platform, found: list[Platform]) -> ContainerError:
    """That an image lacks a platform, and which ones it has (contract 2.5)."""

    available = ", ".join(sorted({str(item) for item in found})) or "none"
    return ContainerError(
        ErrorCode.UNSUPPORTED,
        f"image {name} has no content for platform {platform}; available platforms: {available}",
    )


def _reporter(
    report: Report, description: str, step: int, steps: int, total: int | None = None
) -> Callable[[int], None]:
    report(ImageEvent(progress=Progress(description, step, steps)))
    return lambda count: report(ImageEvent(progress=Progress(description, step, steps, bytes=count, total_bytes=total)))
