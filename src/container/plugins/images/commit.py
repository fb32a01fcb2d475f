"""`commit`: what a container changed becomes a layer of a new image."""

import time
from collections.abc import Callable

from container.errors import internal
from container.model import reference as references
from container.model.event import ImageEvent, Progress
from container.model.files import CommitOptions
from container.model.image import Descriptor, ImageDescription, Platform
from container.oci import commit, image, pipes
from container.oci.content import ContentStore, Ingest
from container.plugins.images.catalog import Catalog
from container.plugins.images.tasks import Meter, cancellable, in_thread
from container.plugins.images.unpack import Unpacker

Report = Callable[[ImageEvent], None]


class Commits:
    """Commits into one store."""

    def __init__(self, content: ContentStore, catalog: Catalog, unpacker: Unpacker) -> None:
        self._content = content
        self._catalog = catalog
        self._unpacker = unpacker

    async def commit(
        self,
        base: ImageDescription,
        platform: Platform,
        reference: str,
        options: CommitOptions,
        fd: int,
        report: Report,
    ) -> ImageEvent:
        """Take the layer that `fd` yields, and name the new image; after a failure nothing of it is left.

        Raises ContainerError: invalidArgument, interrupted when the layer is cut off, internalError.
        """
        full = references.normalise(reference, self._catalog.domain)
        for text in options.changes:
            commit.apply({}, text)  # before anything is read
        with pipes.Cancellation() as cancellation, self._content.ingest() as ingest:
            meter = Meter(lambda count: report(_progress("Reading changes", 1, count)))
            layer, diff_id = await cancellable(
                cancellation, lambda: commit.take_layer(ingest, pipes.reader(fd, cancellation), meter.add)
            )
            meter.close()
            top = await in_thread(self._describe, ingest, base, platform, layer, diff_id, options)
            await self._add(ingest, top, full, report)
        return ImageEvent(references=[full])

    def _describe(
        self,
        ingest: Ingest,
        base: ImageDescription,
        platform: Platform,
        layer: Descriptor,
        diff_id: str,
        options: CommitOptions,
    ) -> Descriptor:
        variant = image.choose(image.variants(self._content, base.descriptor), platform)
        if variant is None or not all(ingest.has(blob) for blob in variant.blobs):  # which keeps them
            raise internal(f"image {base.reference} of the container is not complete any more")
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return commit.add_documents(ingest, variant, layer, diff_id, options, created)

    async def _add(self, ingest: Ingest, top: Descriptor, full: str, report: Report) -> None:
        """Bring the image into the store, unpack it, name it."""
        digests = await in_thread(image.reachable, ingest, top)
        async with self._catalog.added(ingest, digests, [top]):
            meter = Meter(lambda count: report(_progress("Unpacking image", 2, count)))
            for variant in await in_thread(image.variants, self._content, top):
                await self._unpacker.disk(variant, meter.add)
            meter.close()
            await self._catalog.name([(full, top)])


def _progress(description: str, step: int, count: int) -> ImageEvent:
    return ImageEvent(progress=Progress(description, step, 2, bytes=count))
