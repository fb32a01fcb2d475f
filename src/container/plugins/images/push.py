"""Pushing an image: the blobs that the registry lacks, side by side, then manifests, then the index under its tag."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from container.errors import ContainerError, ErrorCode
from container.model import reference as references
from container.model.event import ImageEvent, Progress
from container.model.image import Descriptor, Platform
from container.oci import digest as digests
from container.oci import image, layout
from container.oci.content import ContentStore
from container.oci.mediatypes import INDEXES, is_foreign
from container.oci.registry.client import RegistryClient
from container.oci.registry.endpoints import api_host
from container.oci.registry.repository import Repository
from container.oci.registry.upload import Uploads
from container.plugins.images.catalog import Catalog
from container.plugins.images.pullprogress import DONE, EXISTS, UPLOADING, TransferProgress
from container.plugins.images.tasks import all_of, in_thread
from container.plugins.images.transfer import no_platform

STEPS = ("Pushing image",)
_AT_ONCE = 3
_ORIGINS = 2  # repositories that a blob may be mounted from, to try


@dataclass(frozen=True)
class _Plan:
    """What goes where: blobs, manifests that exist as blobs here, lowest first, and what the name will mean."""

    blobs: list[Descriptor]
    manifests: list[Descriptor]
    absent: list[Descriptor]  # manifests of the index that are not here
    top: Descriptor


class Pusher:
    """Pushes the images of one store."""

    def __init__(self, content: ContentStore, catalog: Catalog, client: RegistryClient) -> None:
        self._content = content
        self._catalog = catalog
        self._client = client

    async def push(
        self, text: str, platform: Platform | None, scheme: str, report: Callable[[Progress], None]
    ) -> ImageEvent:
        """Send an image under its own name, all that is here or one platform; the result has its full reference.

        Raises ContainerError: notFound; unsupported for a platform that is not here; as `failures`.
        """
        async with contextlib.AsyncExitStack() as stack:
            name, top = await stack.enter_async_context(self._catalog.pinned(text))
            reference = references.parse(name)
            repository = Repository(self._client, reference, scheme)
            uploads = Uploads(repository)
            plan = await in_thread(self._plan, name, top, platform)
            progress = TransferProgress(report, STEPS)
            stack.callback(progress.stop)
            for blob in plan.blobs:
                progress.add(blob)
            for descriptor in plan.absent:
                if not await uploads.has_manifest(descriptor):
                    raise _incomplete(name, descriptor)
            origins = await in_thread(self._origins, name, plan.blobs)
            slots = asyncio.Semaphore(_AT_ONCE)
            await all_of(self._blob(uploads, blob, origins[blob.digest], slots, progress) for blob in plan.blobs)
            for descriptor in plan.manifests:
                await self._manifest(uploads, descriptor, descriptor.digest)
            await self._manifest(uploads, plan.top, reference.tag or plan.top.digest)
            progress.close()
        return ImageEvent(references=[name])

    def _plan(self, name: str, top: Descriptor, platform: Platform | None) -> _Plan:
        if platform is not None:
            found = [item for item in image.variants(self._content, top) if self._is_here(item.blobs)]
            variant = image.choose(found, platform)
            if variant is None:
                raise no_platform(name, platform, [item.platform for item in found])
            return _Plan(self._contents(variant.manifest), [], [], variant.manifest)
        manifests = list(image.manifests(self._content, top))
        here = [item for item in manifests if self._content.has(item) and self._is_here(self._contents(item))]
        absent = [item for item in manifests if item not in here]
        blobs = {blob.digest: blob for item in here for blob in self._contents(item)}
        if len(here) == 1 and not absent and self._is_ours(top, here[0]):
            return _Plan(list(blobs.values()), [], [], here[0])
        return _Plan(list(blobs.values()), [*here, *self._nested(top)], absent, top)

    def _contents(self, manifest: Descriptor) -> list[Descriptor]:
        """Config and layers of a manifest, but what no registry takes."""
        document = self._content.document(manifest.digest)
        layers = document.get("layers") or []
        listed = image.descriptors([document.get("config"), *layers], f"manifest {manifest.digest}")
        return [blob for blob in listed if not is_foreign(blob.media_type)]

    def _nested(self, index: Descriptor) -> list[Descriptor]:
        """The indexes in an index, the innermost first."""
        found: list[Descriptor] = []
        document = self._content.document(index.digest)
        for item in image.descriptors(document.get("manifests"), f"index {index.digest}"):
            if item.media_type in INDEXES and self._content.has(item):
                found += [*self._nested(item), item]
        return found

    def _is_ours(self, top: Descriptor, manifest: Descriptor) -> bool:
        """Whether an index is the one that a lone manifest gets here: then the manifest is what has the name."""
        platform = manifest.platform or image.variant(self._content, manifest).platform
        made = layout.index_of(manifest, platform)
        return digests.of(json.dumps(made, separators=(",", ":"), sort_keys=True).encode()) == top.digest

    def _is_here(self, blobs: list[Descriptor]) -> bool:
        return all(self._content.has(blob) for blob in blobs)

    def _origins(self, name: str, blobs: list[Descriptor]) -> dict[str, list[str]]:
        """Other repositories of the same registry that an image here comes from or went to, by blob."""
        own = references.parse(name)
        found: dict[str, list[str]] = {blob.digest: [] for blob in blobs}
        for other, top in self._content.references().items():
            reference = references.parse(other)
            if reference.path != own.path and api_host(reference.domain or "") == api_host(own.domain or ""):
                for digest in image.reachable(self._content, top) & found.keys():
                    if len(found[digest]) < _ORIGINS and reference.path not in found[digest]:
                        found[digest].append(reference.path)
        return found

    async def _blob(
        self,
        uploads: Uploads,
        blob: Descriptor,
        origins: list[str],
        slots: asyncio.Semaphore,
        progress: TransferProgress,
    ) -> None:
        async with slots:
            if await uploads.has_blob(blob.digest):
                progress.finished(blob, EXISTS)
                return
            path = self._content.path(blob.digest)
            sent = await uploads.blob(blob, path, origins, lambda count: progress.moved(blob, count, UPLOADING))
            progress.finished(blob, DONE if sent else EXISTS)

    async def _manifest(self, uploads: Uploads, descriptor: Descriptor, reference: str) -> None:
        data = await in_thread(self._read, descriptor)
        await uploads.manifest(reference, descriptor.media_type, data)

    def _read(self, descriptor: Descriptor) -> bytes:
        with open(self._content.path(descriptor.digest), "rb") as file:
            return file.read()


def _incomplete(name: str, descriptor: Descriptor) -> ContainerError:
    return ContainerError(
        ErrorCode.UNSUPPORTED,
        f"image {name} lacks the content of {descriptor.platform or descriptor.digest}, and the registry does, too: "
        "pull that first, or push one platform with --platform",
    )
