"""Volumes that a container gets read-only and that must be written to before: a first use, a journal to be replayed.

A machine that runs nothing does that, so that the container's own never has a way to write to them.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from container.model.launch import Launch
from container.model.mount import Mount
from container.plugins.runtime import guestplan, plan, storage
from container.plugins.runtime.unmanned import POWER_OFF_DEADLINE, REQUEST_DEADLINE, attend, booting

if TYPE_CHECKING:
    from container.guest.client import GuestClient

BOOT_LOG = "prepare.log"


async def prepare(
    launch: Launch,
    mounts: Sequence[Mount],
    bundle: str,
    cache: str,
    group: asyncio.TaskGroup,
) -> None:
    """Mount what `storage.unprepared` found, fill what is empty from the image, unmount.

    `group` runs what watches the file servers. Raises ContainerError.
    """
    configuration = replace(launch.configuration, mounts=list(mounts))
    speed = launch.accelerator.speed
    patience = plan.FIRST_USE_DEADLINE * speed
    async with contextlib.AsyncExitStack() as stack:
        attached = await stack.enter_async_context(storage.attach(configuration, bundle))
        vm = await stack.enter_async_context(booting(launch, bundle, cache, log=BOOT_LOG, storage=attached))
        scope, loop = asyncio.timeout(None), asyncio.get_running_loop()
        watching = attached.watch(vm, lambda *_: scope.reschedule(loop.time()), POWER_OFF_DEADLINE * speed)
        stack.callback(group.create_task(watching).cancel)

        async def fill(guest: "GuestClient") -> None:
            rootfs = replace(guestplan.rootfs(launch), upper=None)  # the image's files, not the container's
            await guest.mount_rootfs(rootfs, timeout=REQUEST_DEADLINE * speed)
            await guest.mount_volumes(attached.volumes, timeout=REQUEST_DEADLINE * speed)
            async with attached.first_use(patience):
                for mount in attached.mounts:
                    if mount.detail["populate"]:
                        await guest.fill_volume(mount.source, mount.destination, timeout=patience)

        try:
            async with scope:
                await attend(vm, fill, speed, doing=f"preparing the volumes of container {configuration.id}")
        except TimeoutError as error:
            raise attached.failure() or error from error
