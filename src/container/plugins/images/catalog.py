"""The images of a store by name, and what may be removed: the one owner of the index and of garbage collection."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from container.errors import ContainerError, invalid_argument, not_found
from container.log import fields
from container.model import reference as references
from container.model.image import DeleteResult, Descriptor, Image, ImageConfiguration, ImageVariant, PruneResult
from container.model.system import ResourceUsage
from container.oci import image
from container.oci.check import check
from container.oci.collect import Collected, collect, collect_made, measure
from container.oci.content import ContentStore, Ingest
from container.oci.digest import hex_of
from container.oci.layers import LayerStore
from container.oci.rootfs import DiskStore
from container.plugins.images.tasks import in_thread, to_its_end
from container.plugins.images.usage import Use

_log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{4,64}")

Usage = Callable[[], Awaitable[list[Use]]]
Named = tuple[str, Descriptor]


class Catalog:
    """Names and garbage collection. Changes run one after the other; `usage` says what containers refer to."""

    def __init__(
        self, content: ContentStore, layers: LayerStore, disks: DiskStore, *, domain: str, usage: Usage
    ) -> None:
        self._content = content
        self._layers = layers
        self._disks = disks
        self._domain = domain
        self._usage = usage
        self._lock = asyncio.Lock()
        self._pins: list[Descriptor] = []  # in use by a task of this process
        self._handed_out: dict[str, tuple[Descriptor, float]] = {}  # by digest, until the API server can know of it
        self._owed = False  # a collection: something lost its name
        self._spared: set[str] = set()  # what the last one left only because it is pinned

    @property
    def domain(self) -> str:
        """The configured `registry.domain`."""
        return self._domain

    async def images(self) -> list[Image]:
        """Every image, sorted by reference; one that cannot be read is logged and has no variants."""
        return await in_thread(lambda: [self._image(*item) for item in self._content.references().items()])

    async def get(self, text: str) -> Image:
        """One image by a reference as typed. Raises ContainerError(notFound)."""
        return await in_thread(lambda: self._image(*self._find(self._content.references(), text)))

    @asynccontextmanager
    async def pinned(self, text: str) -> AsyncIterator[Named]:
        """Name and index of an image, whose content stays while this is open. Raises ContainerError(notFound)."""
        async with self._lock:
            name, descriptor = self._find(await in_thread(self._content.references), text)
            self._pins.append(descriptor)
        try:
            yield name, descriptor
        finally:
            await self._unpin([descriptor])

    @asynccontextmanager
    async def added(self, ingest: Ingest, digests: Iterable[str], tops: list[Descriptor]) -> AsyncIterator[None]:
        """Bring the blobs of a session into the store, and keep them while this is open; then what has no name goes."""
        self._pins += tops
        complete = False
        try:
            async with self._lock:
                await in_thread(ingest.commit, digests)
            yield
            complete = True
        finally:
            self._owed = self._owed or not complete
            await self._unpin(tops)

    def handed_out(self, descriptor: Descriptor) -> None:
        """Note that a container will refer to an image from now on."""
        self._handed_out[descriptor.digest] = (descriptor, time.monotonic())

    async def name(self, new: list[Named]) -> None:
        """Give pinned indexes names; an existing name is moved, and what it meant goes when they are pinned no more."""
        async with self._lock:
            known = await in_thread(self._content.references)
            await in_thread(self._content.set_references, {**known, **dict(new)})
            moved = any(name in known and known[name].digest != descriptor.digest for name, descriptor in new)
            self._owed = self._owed or moved

    async def tag(self, source: str, target: str) -> str:
        """Another name for an image; returns the full reference. Raises ContainerError: notFound, invalidArgument."""
        full = references.normalise(target, self._domain)
        async with self.pinned(source) as (_, descriptor):
            await self.name([(full, descriptor)])
        return full

    async def delete(self, typed: list[str], *, every: bool, force: bool) -> DeleteResult:
        """Remove names, then what nothing refers to any more.

        Raises ContainerError(internal) when it cannot be told what is in use; then everything stays.
        """
        failed: dict[str, str] = {}

        def choose(known: dict[str, Descriptor], uses: list[Use]) -> list[str]:
            deleted: list[str] = []
            for text in list(known) if every else list(dict.fromkeys(typed)):
                try:
                    (name, _), *more = self._meant(known, text)
                except ContainerError as error:
                    if not force:
                        failed[text] = error.describe()
                    continue
                if more:
                    names = ", ".join([name, *(other for other, _ in more)])
                    failed[text] = f"image {text} has several names: {names}: give those that are to go"
                    continue
                users = sorted(use.container for use in uses if use.image.reference == name)
                if users:
                    failed[text] = f"image {name} is in use by containers: {', '.join(users)}; delete those first"
                elif name not in deleted:
                    deleted.append(name)
            return deleted

        deleted, collected = await self._retire(choose)
        return DeleteResult(deleted, failed, collected.freed)

    async def prune(self, *, every: bool) -> PruneResult:
        """Remove the names without a tag, or every one, that no container uses, then what nothing refers to any more.

        Raises ContainerError(internal) when it cannot be told what is in use; then everything stays.
        """
        names, collected = await self._retire(
            lambda known, uses: [
                name for name in _unused(known, uses) if every or references.name_and_tag(name)[1] is None
            ]
        )
        return PruneResult(names, collected.digests, collected.freed)

    async def disk_usage(self) -> ResourceUsage:
        """Names, names that a container uses, bytes of all content and of what no container uses.

        Raises ContainerError(internal) when it cannot be told what is in use.
        """
        uses = await self._usage()
        known = await in_thread(self._content.references)
        unused = set(_unused(known, uses))
        used = [descriptor for name, descriptor in known.items() if name not in unused]
        roots = [*used, *(use.image.descriptor for use in uses)]
        size, reclaimable = await in_thread(measure, self._content, self._layers, self._disks, roots)
        return ResourceUsage(len(known), len(used), size, reclaimable)

    async def check(self) -> None:
        """Remove what is unusable (`oci.check`), and log it; for a store that nothing uses yet."""
        try:
            for line in await in_thread(check, self._content, self._layers, self._disks):
                _log.warning("removed from the image store: %s", line)
        except (ContainerError, OSError) as error:
            _log.error("cannot check the image store", extra=fields(error=error))

    async def sweep(self, usage: Usage | None = None) -> None:
        """Remove what nothing refers to; when that cannot be told, everything stays, and the log says why."""
        started = time.monotonic()
        try:
            uses = await (usage or self._usage)()
            async with self._lock:
                await self._collect(await in_thread(self._content.references), uses, started)
        except (ContainerError, OSError) as error:
            _log.warning("cannot collect garbage", extra=fields(error=error))

    async def _retire(
        self, choose: Callable[[dict[str, Descriptor], list[Use]], list[str]]
    ) -> tuple[list[str], Collected]:
        """Remove the names that `choose` picks, then what nothing refers to any more; returns these names."""
        started = time.monotonic()
        uses = await self._usage()
        async with self._lock:
            known = await in_thread(self._content.references)
            names, freed = choose(known, uses), 0
            if names:
                known = {name: descriptor for name, descriptor in known.items() if name not in names}
                try:
                    await in_thread(self._content.set_references, known)
                except ContainerError:  # the disk is full to the last byte: what can be made again makes room
                    roots = self._roots(known, uses, started)
                    freed = await in_thread(collect_made, self._content, self._layers, self._disks, roots)
                    await in_thread(self._content.set_references, known)
            collected = await self._collect(known, uses, started)
            return names, replace(collected, freed=collected.freed + freed)

    async def _collect(self, known: dict[str, Descriptor], uses: list[Use], since: float) -> Collected:
        """Collect with the lock held."""
        roots, named = self._roots(known, uses, since), {descriptor.digest for descriptor in known.values()}
        self._owed, self._spared = False, {descriptor.digest for descriptor in self._pins} - named
        try:
            return await in_thread(collect, self._content, self._layers, self._disks, roots)
        except BaseException:
            self._owed = True
            raise

    def _roots(self, known: dict[str, Descriptor], uses: list[Use], since: float) -> list[Descriptor]:
        """What must stay; `uses` may not know of what was handed out after the time `since`."""
        self._handed_out = {key: item for key, item in self._handed_out.items() if item[1] >= since}
        recent = [descriptor for descriptor, _ in self._handed_out.values()]
        return [*known.values(), *self._pins, *(use.image.descriptor for use in uses), *recent]

    async def _unpin(self, descriptors: list[Descriptor]) -> None:
        for descriptor in descriptors:
            self._pins.remove(descriptor)
        if self._owed or any(descriptor.digest in self._spared for descriptor in descriptors):
            await to_its_end(self.sweep())

    def _find(self, known: dict[str, Descriptor], text: str) -> Named:
        """An image as typed: by the first of its names, if it was typed as an id. Raises as `_meant`."""
        return self._meant(known, text)[0]

    def _meant(self, known: dict[str, Descriptor], text: str) -> list[Named]:
        """Lookup of a typed reference (contract 1.10), then of an id: every name that it has.

        Raises ContainerError: notFound, and invalidArgument for the beginning of several ids.
        """
        for name in self._spellings(text):
            if name in known:
                return [(name, known[name])]
        _, at, digest = text.rpartition("@")
        if at:
            wanted = references.parse(references.normalise(text, self._domain)).name
            for name, descriptor in known.items():
                if descriptor.digest == digest and references.parse(name).name == wanted:
                    return [(name, descriptor)]
        if found := _by_id(known, text):
            return found
        raise not_found(f"image with reference {text} not found; `container image list` shows those that there are")

    def _spellings(self, text: str) -> list[str]:
        try:
            return [text, references.normalise(text, self._domain)]
        except ContainerError:
            return [text]

    def _image(self, name: str, descriptor: Descriptor) -> Image:
        try:
            here = [
                item
                for item in image.variants(self._content, descriptor)
                if all(self._content.has(blob) for blob in item.blobs)
            ]
        except ContainerError as error:
            _log.warning("cannot read an image", extra=fields(reference=name, error=error.describe()))
            here = []
        return Image(
            hex_of(descriptor.digest),
            ImageConfiguration(name, image.creation_date(here), descriptor),
            [ImageVariant(item.platform, item.manifest.digest, item.size, item.document) for item in here],
        )


def _by_id(known: dict[str, Descriptor], text: str) -> list[Named]:
    """The names of the image whose id, the hex digits of its digest, begins so (four or more)."""
    wanted = text.removeprefix("sha256:")
    if not _ID.fullmatch(wanted):
        return []
    found = [item for item in known.items() if hex_of(item[1].digest).startswith(wanted)]
    if len({descriptor.digest for _, descriptor in found}) > 1:
        raise invalid_argument(f"image ID {text} is ambiguous, it may be {_listed(found)}: give more of it")
    return found


def _listed(images: list[Named]) -> str:
    return ", ".join(f"{hex_of(descriptor.digest)[:12]} ({name})" for name, descriptor in images)


def _unused(known: dict[str, Descriptor], uses: list[Use]) -> list[str]:
    used = {use.image.reference for use in uses}
    return [name for name in known if name not in used]
