"""The guest made ready for its container."""

import asyncio
import time
from collections.abc import Awaitable, Sequence

from container.guest.client import GuestClient
from container.guest.spec import VolumeSpec
from container.model.launch import Launch
from container.plugins.runtime import guestplan
from container.plugins.runtime.network import Attached


async def set_up(
    guest: GuestClient, launch: Launch, attached: Sequence[Attached], volumes: Sequence[VolumeSpec], deadline: float
) -> None:
    """Clock, root file system, volumes, network, files: requests in one go, since the agent serves them in order.

    `deadline` is in seconds, for each. Raises the ContainerError of the first that failed.
    """
    attachments = [item.attachment for item in attached]
    await _together(
        guest.set_time(time.time(), timeout=deadline),  # the emulated clock chip has whole seconds
        guest.mount_rootfs(guestplan.rootfs(launch), timeout=deadline),
        guest.mount_volumes(volumes, timeout=deadline),
        guest.configure_network(guestplan.interfaces(attachments), timeout=deadline),
        guest.write_files(guestplan.files(launch.configuration, attachments), timeout=deadline),
    )


async def _together(*requests: Awaitable[None]) -> None:
    """Await all; raise the failure of the first, in their order, that failed."""
    for result in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
