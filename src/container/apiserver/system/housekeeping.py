"""What the system keeps beside images, containers and volumes: kernels, caches, logs; how much, and what can go.

What is unused by these lists is what `df` calls reclaimable and what `prune` removes.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from container import paths
from container.apiserver.system.usage import allocated
from container.errors import ContainerError
from container.model.job import JobStatus
from container.model.prune import Pruned
from container.model.system import ResourceUsage
from container.paths import Roots
from container.supervisor.servicelog import FORMER

PREFIX, SUFFIX = "io.container.", ".log"  # of logs, in a directory that others may use, too
_LOCK = ".lock"  # ending of files that are empty, and have to stay while somebody may wait for one


class Kernels(Protocol):
    """The installed kernels (`vm.kernel.KernelStore`). Blocks."""

    def installed(self) -> dict[str, bool]:
        """Directories, and whether a kernel is the default of its architecture."""

    def remove(self, directory: str) -> None:
        """Remove one that is no default. Raises ContainerError."""


class Machines(Protocol):
    """What virtual machines need of it now (`containers.lifecycle.Lifecycle`)."""

    def is_starting(self) -> bool:
        """Whether one is on its way up, and needs what the cache has."""

    def has_own_kernel(self) -> bool:
        """Whether one has a kernel of its own, which may need the modules of any that is installed."""


class Item(NamedTuple):
    """A file or directory, and whether something uses it."""

    path: str
    used: bool


class Housekeeping:
    """`jobs` lists the services that are registered."""

    def __init__(
        self, roots: Roots, kernels: Kernels, machines: Machines, jobs: Callable[[], Awaitable[list[JobStatus]]]
    ) -> None:
        self._roots = roots
        self._kernels = kernels
        self._machines = machines
        self._jobs = jobs

    async def kernels(self) -> ResourceUsage:
        """Installed kernels."""
        return await _usage(await self._kernel_items())

    async def caches(self) -> ResourceUsage:
        """Saved machines, initial RAM disks, templates of disks."""
        return await _usage(self._cache_items())

    async def logs(self) -> ResourceUsage:
        """Logs of the services; those of containers' processes count with the containers."""
        return await _usage(await self._log_items())

    async def prune(self) -> Pruned:
        """Remove what is unused."""
        deleted: list[str] = []
        failed: dict[str, str] = {}
        reclaimed = 0
        # Without a pause since it was found unused: a machine that starts from now on finds it gone, and makes it.
        for item in self._cache_items():
            if not item.used:
                reclaimed += _remove(item.path, os.unlink, deleted, failed)
        for item in await self._log_items():
            if not item.used:
                reclaimed += _remove(item.path, os.unlink, deleted, failed)
        for item in await self._kernel_items():
            if not item.used:
                reclaimed += await asyncio.to_thread(_remove, item.path, self._kernels.remove, deleted, failed)
        return Pruned(deleted, failed, reclaimed)

    async def _kernel_items(self) -> list[Item]:
        installed = await asyncio.to_thread(self._kernels.installed)
        needed = self._machines.has_own_kernel()
        return [Item(directory, default or needed) for directory, default in sorted(installed.items())]

    def _cache_items(self) -> list[Item]:
        used = self._machines.is_starting()
        found = _files(os.path.join(self._roots.app, "cache"))
        return [Item(path, used) for path in found if not path.endswith(_LOCK)]

    async def _log_items(self) -> list[Item]:
        labels = {paths.SUPERVISOR, *(status.job.label for status in await self._jobs())}
        live = {os.path.join(self._roots.log, f"{label}{SUFFIX}") for label in labels}
        return [Item(path, path in live) for path in _files(self._roots.log) if _is_log(os.path.basename(path))]


def _is_log(name: str) -> bool:
    return name.startswith(PREFIX) and name.removesuffix(FORMER).endswith(SUFFIX)


def _files(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if entry.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _size(path: str) -> int:
    if os.path.isdir(path):
        return allocated(path)
    try:
        return os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


async def _usage(items: list[Item]) -> ResourceUsage:
    sizes = await asyncio.to_thread(lambda: [_size(item.path) for item in items])
    unused = sum(size for size, item in zip(sizes, items, strict=True) if not item.used)
    return ResourceUsage(len(items), sum(item.used for item in items), sum(sizes), unused)


def _remove(path: str, remove: Callable[[str], None], deleted: list[str], failed: dict[str, str]) -> int:
    """Remove one item; the bytes that are free again."""
    size = _size(path)
    try:
        remove(path)
    except ContainerError as error:
        failed[path] = error.describe()
    except OSError as error:
        failed[path] = error.strerror or str(error)
    else:
        deleted.append(path)
        return size
    return 0
