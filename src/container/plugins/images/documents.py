"""The small part of a pull, which decides the rest: index, manifests and configs of the wanted platforms."""

import asyncio
from dataclasses import dataclass, replace

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model.image import Descriptor, Platform
from container.model.reference import Reference
from container.oci import image, layout
from container.oci.content import Ingest
from container.oci.digest import hex_of
from container.oci.image import Variant
from container.oci.mediatypes import CONFIGS, INDEXES, LAYERS, MANIFESTS, is_foreign
from container.oci.registry.repository import Repository
from container.plugins.images.tasks import all_of, in_thread
from container.plugins.images.transfer import no_platform

_AT_ONCE = 4
_MAX_MANIFESTS = 512


@dataclass(frozen=True)
class Documents:
    """What was decided: `variants` are unpacked, `blobs` are all layers of what is fetched, lowest first."""

    top: Descriptor
    digests: set[str]
    variants: list[Variant]
    blobs: list[Descriptor]


class DocumentFetch:
    """Fetches the documents of one image into an ingest; what is in the store is not fetched again."""

    def __init__(self, repository: Repository, ingest: Ingest) -> None:
        self._repository = repository
        self._ingest = ingest
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._adding = asyncio.Lock()  # an ingest takes one blob at a time
        self._digests: set[str] = set()

    async def fetch(self, reference: Reference, platform: Platform | None) -> Documents:
        """The documents of a reference, for one platform or all of them.

        Raises ContainerError: notFound, unsupported for a platform that the image does not have and for content that
        cannot be used, invalidArgument for malformed content, and as `Repository`.
        """
        descriptor, data = await self._repository.manifest(reference.digest or reference.tag or "")
        await self._keep(descriptor, data)
        if descriptor.media_type in MANIFESTS:
            top, wanted = await self._lone(descriptor, str(reference), platform)
        else:
            top, wanted = descriptor, await self._chosen(descriptor, str(reference), platform)
        variants = [item for manifest in wanted if (item := await self._image(manifest)) is not None]
        linux = [item for item in variants if item.platform.os == "linux" or platform is not None]
        for item in linux:
            _check_layers(item)
        return Documents(top, self._digests, linux, await self._blobs(wanted))

    async def _lone(
        self, descriptor: Descriptor, name: str, platform: Platform | None
    ) -> tuple[Descriptor, list[Descriptor]]:
        await self._complete(descriptor)
        found = await self._image(descriptor)
        if found is None:
            raise ContainerError(ErrorCode.UNSUPPORTED, f"{name} is an artifact, not a container image")
        if platform is not None and image.choose([found], platform) is None:
            raise no_platform(name, platform, [found.platform])
        top = await in_thread(layout.wrapped, self._ingest, descriptor)
        self._digests.add(top.digest)
        return top, [replace(descriptor, platform=found.platform)]

    async def _chosen(self, top: Descriptor, name: str, platform: Platform | None) -> list[Descriptor]:
        """The manifests to fetch of an index, fetched."""
        await self._nested(top, 0)
        offered = list(await in_thread(lambda: list(image.manifests(self._ingest, top))))
        if len(offered) > _MAX_MANIFESTS:
            raise invalid_argument(f"index {top.digest} has {len(offered)} manifests; {_MAX_MANIFESTS} are allowed")
        for descriptor in offered:
            if descriptor.media_type not in MANIFESTS:
                raise ContainerError(
                    ErrorCode.UNSUPPORTED, f"index {top.digest} has content of the type {descriptor.media_type}"
                )
        if platform is not None:
            offered = await self._matching(offered, name, platform)
        await all_of(self._complete(descriptor) for descriptor in offered)
        return offered

    async def _matching(self, offered: list[Descriptor], name: str, platform: Platform) -> list[Descriptor]:
        platforms: list[Platform] = []
        for descriptor in offered:
            if descriptor.platform is None:
                await self._complete(descriptor)
                found = await self._image(descriptor)
                platforms.append(found.platform if found else Platform("unknown", "unknown"))
            else:
                platforms.append(image.normalised(descriptor.platform))
        at = image.best(platforms, platform)
        if at is None:
            raise no_platform(name, platform, [item for item in platforms if item.os != "unknown"])
        return [offered[at]]

    async def _nested(self, index: Descriptor, depth: int) -> None:
        """Fetch the indexes in an index."""
        if depth > image.MAX_DEPTH:
            raise invalid_argument(f"index {index.digest} is nested too deeply")
        document = await in_thread(self._ingest.document, index.digest)
        for descriptor in image.descriptors(document.get("manifests"), f"index {index.digest}"):
            if descriptor.media_type in INDEXES:
                await self._manifest(descriptor)
                await self._nested(descriptor, depth + 1)

    async def _complete(self, manifest: Descriptor) -> None:
        """Fetch a manifest and its config."""
        async with self._slots:
            await self._manifest(manifest)
            document = await in_thread(self._ingest.document, manifest.digest)
            (config,) = image.descriptors([document.get("config")], f"manifest {manifest.digest}")
            hex_of(config.digest)
            if await in_thread(self._ingest.has, config):
                self._digests.add(config.digest)
            else:
                await self._keep(config, await self._repository.document(config))

    async def _manifest(self, descriptor: Descriptor) -> None:
        hex_of(descriptor.digest)
        if await in_thread(self._ingest.has, descriptor):
            self._digests.add(descriptor.digest)
            return
        found, data = await self._repository.manifest(descriptor.digest)
        if found.size != descriptor.size:
            raise invalid_argument(f"manifest {descriptor.digest} does not have the size that its index says")
        await self._keep(descriptor, data)

    async def _keep(self, descriptor: Descriptor, data: bytes) -> None:
        async with self._adding:
            await in_thread(self._ingest.add, [data], descriptor.digest, f"document {descriptor.digest}")
        self._digests.add(descriptor.digest)

    async def _image(self, manifest: Descriptor) -> Variant | None:
        """What is behind a manifest, None for something that is no image."""
        document = await in_thread(self._ingest.document, manifest.digest)
        (config,) = image.descriptors([document.get("config")], f"manifest {manifest.digest}")
        if config.media_type not in CONFIGS or (manifest.platform and manifest.platform.os == "unknown"):
            return None
        return await in_thread(image.variant, self._ingest, manifest)

    async def _blobs(self, manifests: list[Descriptor]) -> list[Descriptor]:
        """The layers."""
        found: dict[str, Descriptor] = {}
        for manifest in manifests:
            document = await in_thread(self._ingest.document, manifest.digest)
            for layer in image.descriptors(document.get("layers"), f"manifest {manifest.digest}"):
                hex_of(layer.digest)
                if not is_foreign(layer.media_type):
                    found.setdefault(layer.digest, layer)
        return list(found.values())


def _check_layers(variant: Variant) -> None:
    variant.diff_ids()
    for layer in variant.layers:
        if is_foreign(layer.media_type):
            raise ContainerError(
                ErrorCode.UNSUPPORTED,
                f"layer {layer.digest} of {variant.platform} is foreign (type {layer.media_type}): "
                "it is not in the registry, and foreign layers are not fetched",
            )
        if layer.media_type not in LAYERS:
            raise ContainerError(
                ErrorCode.UNSUPPORTED, f"layer {layer.digest} has the type {layer.media_type}, which cannot be unpacked"
            )
