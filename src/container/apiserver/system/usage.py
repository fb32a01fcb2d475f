"""What the system takes on disk: each kind of thing is measured by the part that owns it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable

from container.api.images import Images
from container.apiserver.containers.service import ContainersService
from container.apiserver.volumes.service import VolumesService
from container.ipc.client import Client
from container.model.container import ContainerState
from container.model.system import DiskUsage, ResourceUsage
from container.paths import Roots

Measure = Callable[[], Awaitable[ResourceUsage]]
NOTHING = ResourceUsage(0, 0, 0, 0)


async def nothing() -> ResourceUsage:
    """The usage of what there is none of."""
    return NOTHING


class Usage:
    """`system df`."""

    def __init__(self, images: Measure, containers: Measure, volumes: Measure = nothing) -> None:
        self._images = images
        self._containers = containers
        self._volumes = volumes

    async def measure(self) -> DiskUsage:
        """Ask all parts. Raises ContainerError when one cannot tell."""
        return DiskUsage(await self._images(), await self._containers(), await self._volumes())


def of_images(socket_path: str) -> Measure:
    """Images, as the image helper behind `socket_path` tells."""
    client = Client(socket_path)
    return lambda: client.call(Images.Usage)


def of_containers(containers: ContainersService, roots: Roots) -> Measure:
    """Containers by the allocated bytes of their bundles; running ones are active."""

    async def measure() -> ResourceUsage:
        snapshots = await containers.list(all=True)
        active = {item.id for item in snapshots if item.status.state is not ContainerState.STOPPED}
        sizes = await asyncio.to_thread(_bundle_sizes, roots, [item.id for item in snapshots])
        unused = sum(size for id, size in sizes.items() if id not in active)
        return ResourceUsage(len(sizes), len(active), sum(sizes.values()), unused)

    return measure


def of_volumes(volumes: VolumesService, users: Callable[[str], Awaitable[list[str]]]) -> Measure:
    """Volumes by the allocated bytes of image or directory; those that `users` has containers for are active."""

    async def measure() -> ResourceUsage:
        sizes = await volumes.sizes()
        active = {name for name in sizes if await users(name)}
        unused = sum(size for name, size in sizes.items() if name not in active)
        return ResourceUsage(len(sizes), len(active), sum(sizes.values()), unused)

    return measure


def _bundle_sizes(roots: Roots, ids: Iterable[str]) -> dict[str, int]:
    return {id: allocated(roots.bundle(id)) for id in ids}


def allocated(directory: str) -> int:
    """Allocated bytes of a directory and all below it; what goes away meanwhile counts nothing. Blocks."""
    try:
        with os.scandir(directory) as entries:
            return sum(
                allocated(entry.path) if entry.is_dir(follow_symlinks=False) else _size(entry) for entry in entries
            )
    except FileNotFoundError:
        return 0


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return 0
