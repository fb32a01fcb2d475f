"""An image made bootable: found here or pulled first, its layers as squashfs behind one disk."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

from container.errors import ContainerError, ErrorCode, not_found
from container.model.event import PrepareEvent, Progress
from container.model.image import Descriptor, ImageDescription, Platform, Rootfs, RootfsLayer
from container.oci import image
from container.oci.content import ContentStore
from container.oci.image import Variant
from container.plugins.images.catalog import Catalog
from container.plugins.images.pull import Puller
from container.plugins.images.tasks import Meter, in_thread
from container.plugins.images.transfer import no_platform
from container.plugins.images.unpack import Unpacker

Report = Callable[[PrepareEvent], None]


class Preparer:
    """Prepares the images of one store."""

    def __init__(self, content: ContentStore, catalog: Catalog, unpacker: Unpacker, puller: Puller) -> None:
        self._content = content
        self._catalog = catalog
        self._unpacker = unpacker
        self._puller = puller

    async def prepare(
        self, reference: str, platform: Platform, report: Report, scheme: str | None, concurrent: int
    ) -> PrepareEvent:
        """Make one platform of an image bootable; what is there is not made again.

        With a `scheme` what is missing is pulled first. Raises ContainerError: notFound; unsupported when the image
        lacks the platform; as `Unpacker.disk` and `Puller.pull`.
        """
        event = await self._local(reference, platform, report, pulls=scheme is not None)
        if event is None and scheme is not None:
            await self._fetch(reference, platform, report, scheme, concurrent)
            event = await self._local(reference, platform, report, pulls=False)
        assert event is not None
        return event

    async def _fetch(self, reference: str, platform: Platform, report: Report, scheme: str, concurrent: int) -> None:
        try:
            await self._puller.pull(
                reference,
                platform,
                scheme,
                concurrent,
                lambda progress: report(PrepareEvent(replace(progress, step=0, steps=0))),
            )
        except ContainerError as error:
            what = f"the image {reference} is not here and cannot be fetched"
            raise ContainerError(error.code, what, error) from error

    async def _local(self, reference: str, platform: Platform, report: Report, *, pulls: bool) -> PrepareEvent | None:
        """Prepare what is here; None when it is not and a pull may help (`pulls`)."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                name, descriptor = await stack.enter_async_context(self._catalog.pinned(reference))
            except ContainerError as error:
                if error.code is not ErrorCode.NOT_FOUND:
                    raise
                if pulls:
                    return None
                raise not_found(f"{error.message}, `container image pull` fetches it") from error
            found, offered = await in_thread(self._variants, descriptor)
            variant = image.choose(found, platform)
            if variant is None:
                if pulls and image.best(offered, platform) is not None:
                    return None
                raise no_platform(name, platform, [item.platform for item in found])
            return await self._prepared(name, descriptor, variant, report)

    def _variants(self, top: Descriptor) -> tuple[list[Variant], list[Platform]]:
        """The platforms that are here, whole, and those that the index speaks of."""
        found = [
            item for item in image.variants(self._content, top) if all(self._content.has(blob) for blob in item.blobs)
        ]
        manifests = image.manifests(self._content, top)
        return found, [image.normalised(item.platform) for item in manifests if item.platform is not None]

    async def _prepared(self, name: str, descriptor: Descriptor, variant: Variant, report: Report) -> PrepareEvent:
        total = sum(layer.size for layer in variant.layers)
        if await self._unpacker.built(variant):
            report = _nothing
        meter = Meter(lambda count: report(PrepareEvent(Progress("Unpacking image", bytes=count, total_bytes=total))))
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


def _nothing(_: PrepareEvent) -> None:
    pass
