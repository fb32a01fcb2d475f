"""What the system takes on disk: each kind of thing is measured by the part that owns it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Usage:
    """`system df`, part by part; `whole` tells the bytes of the app root but for what volumes hold."""

    images: Measure = nothing
    containers: Measure = nothing
    volumes: Measure = nothing
    kernels: Measure = nothing
    caches: Measure = nothing
    logs: Measure = nothing
    whole: Callable[[], Awaitable[int]] | None = None
    logs_inside: bool = True  # the app root

    async def measure(self) -> DiskUsage:
        """Ask all parts. Raises ContainerError when one cannot tell."""
        volumes = await self.volumes()
        images, containers, kernels, caches, logs = [
            await part() for part in (self.images, self.containers, self.kernels, self.caches, self.logs)
        ]
        inside = [images, containers, kernels, caches, *([logs] if self.logs_inside else [])]
        whole = 0 if self.whole is None else await self.whole()
        rest = max(0, whole - sum(part.size_in_bytes for part in inside))
        return DiskUsage(images, containers, volumes, kernels, caches, logs, ResourceUsage(0, 0, rest, 0))


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


def of_whole(roots: Roots) -> Callable[[], Awaitable[int]]:
    """Allocated bytes of the app root, but for what volumes hold."""
    return lambda: asyncio.to_thread(_walk, roots.app, os.path.join(roots.app, "volumes"))


def logs_inside(roots: Roots) -> bool:
    """Whether the logs are below the app root."""
    app, log = os.path.realpath(roots.app), os.path.realpath(roots.log)
    return os.path.commonpath([app, log]) == app


def _walk(root: str, volumes: str) -> int:
    """As du(1): directories count, hard links once. Below `volumes` only the records do."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, directories, names in os.walk(root):
        if os.path.dirname(parent) == volumes:
            directories[:] = []
            names = [name for name in names if name.endswith(".json")]
        for path in (parent, *(os.path.join(parent, name) for name in names)):
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total


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
