"""Removing all stopped containers."""

import asyncio
from collections.abc import Awaitable, Callable

from container.apiserver.containers.service import ContainersService
from container.apiserver.system.usage import allocated
from container.errors import ContainerError
from container.model.container import ContainerSnapshot, ContainerState
from container.model.ids import MACHINE, PLUGIN_LABEL
from container.model.prune import Pruned
from container.paths import Roots


def of(containers: ContainersService, roots: Roots) -> Callable[[], Awaitable[Pruned]]:
    """The removal, for the containers of a system; one that was started meanwhile stays."""

    async def prune() -> Pruned:
        deleted: list[str] = []
        failed: dict[str, str] = {}
        reclaimed = 0
        for snapshot in await containers.list(all=True):
            if not _is_unused(snapshot):
                continue
            size = await asyncio.to_thread(allocated, roots.bundle(snapshot.id))
            try:
                await containers.delete(snapshot.id, False)
            except ContainerError as error:
                failed[snapshot.id] = error.describe()
            else:
                deleted.append(snapshot.id)
                reclaimed += size
        return Pruned(deleted, failed, reclaimed)

    return prune


def _is_unused(snapshot: ContainerSnapshot) -> bool:
    machine = snapshot.configuration.labels.get(PLUGIN_LABEL) == MACHINE
    return snapshot.status.state is ContainerState.STOPPED and not machine
