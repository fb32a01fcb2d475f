"""`io.container.Images` on the wire."""

from collections.abc import AsyncIterator

from asyncvarlink import FileDescriptor

from container.api.images import Images
from container.model.event import ImageEvent, PrepareEvent
from container.model.files import CommitOptions
from container.model.image import DeleteResult, Image, ImageDescription, Platform, PruneResult
from container.model.registry import Registry
from container.model.system import ResourceUsage
from container.plugins.images.service import ImageService
from container.plugins.images.tasks import events

DOWNLOADS = 3  # side by side, where the caller does not say


class ImagesHandler(Images):
    """Decodes, calls the service, encodes."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    async def List(self) -> list[Image]:
        """See `container.api.images`."""
        return await self._service.images()

    async def Get(self, *, reference: str) -> Image:
        """See `container.api.images`."""
        return await self._service.get(reference)

    async def Load(self, *, archive: FileDescriptor, force: bool) -> AsyncIterator[ImageEvent]:
        """See `container.api.images`."""
        async for event in events(lambda report: self._service.load(archive.fileno(), force, report)):
            yield event

    async def Save(
        self, *, archive: FileDescriptor, references: list[str], platform: Platform | None
    ) -> AsyncIterator[ImageEvent]:
        """See `container.api.images`."""
        fd = archive.fileno()
        async for event in events(lambda report: self._service.save(fd, references, platform, report)):
            yield event

    async def Commit(
        self,
        *,
        image: ImageDescription,
        platform: Platform,
        reference: str,
        options: CommitOptions,
        layer: FileDescriptor,
    ) -> AsyncIterator[ImageEvent]:
        """See `container.api.images`."""
        commit = self._service.commits.commit
        fd = layer.fileno()
        async for event in events(lambda report: commit(image, platform, reference, options, fd, report)):
            yield event

    async def Tag(self, *, source: str, target: str) -> str:
        """See `container.api.images`."""
        return await self._service.tag(source, target)

    async def Prepare(
        self,
        *,
        reference: str,
        platform: Platform,
        scheme: str | None = None,
        max_concurrent_downloads: int | None = None,
    ) -> AsyncIterator[PrepareEvent]:
        """See `container.api.images`."""
        count = max_concurrent_downloads or DOWNLOADS
        async for event in events(lambda report: self._service.prepare(reference, platform, report, scheme, count)):
            yield event

    async def Pull(
        self, *, reference: str, platform: Platform | None, scheme: str, max_concurrent_downloads: int
    ) -> AsyncIterator[ImageEvent]:
        """See `container.api.images`."""
        count = max_concurrent_downloads
        async for event in events(lambda report: self._service.pull(reference, platform, scheme, count, report)):
            yield event

    async def Push(self, *, reference: str, platform: Platform | None, scheme: str) -> AsyncIterator[ImageEvent]:
        """See `container.api.images`."""
        async for event in events(lambda report: self._service.push(reference, platform, scheme, report)):
            yield event

    async def Login(self, *, server: str, username: str, password: str, scheme: str) -> None:
        """See `container.api.images`."""
        await self._service.registries.login(server, username, password, scheme)

    async def Logout(self, *, server: str) -> None:
        """See `container.api.images`."""
        await self._service.registries.logout(server)

    async def Registries(self) -> list[Registry]:
        """See `container.api.images`."""
        return await self._service.registries.all()

    async def Delete(self, *, references: list[str], all: bool, force: bool) -> DeleteResult:
        """See `container.api.images`."""
        return await self._service.delete(references, every=all, force=force)

    async def Prune(self, *, all: bool) -> PruneResult:
        """See `container.api.images`."""
        return await self._service.prune(every=all)

    async def Usage(self) -> ResourceUsage:
        """See `container.api.images`."""
        return await self._service.disk_usage()
