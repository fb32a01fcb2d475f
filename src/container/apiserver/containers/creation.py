"""From a request to the record of a container; makes nothing that would have to be cleaned up."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from container.apiserver.containers import configuration
from container.apiserver.containers.helper import Helpers, ImageStore
from container.apiserver.containers.launch import Launches
from container.apiserver.containers.records import ContainerRecord
from container.apiserver.containers.volumes import VolumeDirectory
from container.config import ContainerDefaults
from container.errors import internal
from container.model.container import ContainerRequest
from container.model.event import CreateEvent, Progress
from container.model.image import Platform


class Creation:
    """Checks, the image, the merge."""

    def __init__(
        self,
        images: ImageStore,
        helpers: Helpers,
        launches: Launches,
        defaults: ContainerDefaults,
        domain: str | None,
        architecture: str,
        volumes: VolumeDirectory,
    ) -> None:
        """`domain` is the configured DNS domain, `architecture` the host's."""
        self._images = images
        self._helpers = helpers
        self._launches = launches
        self._defaults = defaults
        self._domain = domain
        self._architecture = architecture
        self._volumes = volumes

    async def make(
        self, request: ContainerRequest, id: str
    ) -> AsyncGenerator[Progress | CreateEvent | ContainerRecord, None]:
        """Progress, which volumes were made, then the record. Raises ContainerError."""
        configuration.check(request)
        self._helpers.of(id, request.runtime)
        networks = configuration.networks(request, id, self._domain)
        await self._launches.check(request, networks)
        platform = request.platform or Platform("linux", self._architecture)
        rootfs = None
        fetch = (request.scheme, request.max_concurrent_downloads)
        async with self._images.prepare(request.image, platform, *fetch) as events:
            async for event in events:
                if event.progress is not None:
                    yield event.progress
                rootfs = event.rootfs or rootfs
        if rootfs is None:
            raise internal(f"cannot prepare image {request.image}: the image service said nothing about it")
        made = configuration.build(request, id, rootfs, self._defaults, self._domain)
        mounts, created = await self._volumes.resolve(made.mounts)
        if created:
            yield CreateEvent(volumes=created)
        yield ContainerRecord(replace(made, mounts=mounts), rootfs)
