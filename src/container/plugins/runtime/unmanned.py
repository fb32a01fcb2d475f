"""A machine with a container's disks that runs none of its processes: the agent alone, for work on files."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from container.errors import ContainerError, ErrorCode
from container.model.launch import Launch
from container.plugins.runtime import plan
from container.plugins.runtime.resources import make_disks
from container.vm.qemu import VirtualMachine

if TYPE_CHECKING:
    from container.guest.client import GuestClient
    from container.plugins.runtime.storage import Storage

MEMORY = 128 << 20  # bytes, on top of what every machine gets
# Seconds, each times the accelerator's `speed`.
BOOT_DEADLINE = 12.0
REQUEST_DEADLINE = 20.0
SHUTDOWN_DEADLINE = 5.0
POWER_OFF_DEADLINE = 1.0


@contextlib.asynccontextmanager
async def booting(
    launch: Launch, bundle: str, cache: str, *, log: str, storage: "Storage | None" = None
) -> AsyncIterator[VirtualMachine]:
    """Such a machine, for `attend`; its console goes to the bundle's file `log`. Raises ContainerError."""
    disk, initramfs = await asyncio.to_thread(make_disks, launch, bundle, cache)
    configuration = launch.configuration
    resources = replace(configuration.resources, cpus=1, memory_in_bytes=MEMORY)
    alone = replace(launch, configuration=replace(configuration, resources=resources, mounts=[]), networks=[])
    volumes, shares = (storage.disks, storage.shares) if storage else ((), ())
    spec = plan.machine(alone, initramfs, disk, (), 1, volumes, shares)
    async with VirtualMachine.start(spec, boot_log=os.path.join(bundle, log)) as vm:
        if storage is not None:
            storage.handed_over()
        yield vm


async def attend(
    vm: VirtualMachine, work: "Callable[[GuestClient], Awaitable[None]]", speed: float, *, doing: str
) -> None:
    """Await the boot, then `work`, and shut the machine down. `doing` names it for errors. Raises ContainerError."""
    await vm.guard(_session(vm, work, speed), doing=doing)
    await vm.shutdown(grace=POWER_OFF_DEADLINE)


async def _session(vm: VirtualMachine, work: "Callable[[GuestClient], Awaitable[None]]", speed: float) -> None:
    async with _guest(vm, speed) as guest:
        await work(guest)
        with contextlib.suppress(ContainerError):
            await guest.shutdown(timeout=SHUTDOWN_DEADLINE * speed)


@contextlib.asynccontextmanager
async def _guest(vm: VirtualMachine, speed: float) -> "AsyncIterator[GuestClient]":
    from container.guest.client import GuestClient

    async with contextlib.AsyncExitStack() as stack:
        connecting = GuestClient.connect(vm.agent, timeout=2 * BOOT_DEADLINE * speed)
        try:
            async with asyncio.timeout(BOOT_DEADLINE * speed):
                guest = await stack.enter_async_context(connecting)
        except TimeoutError:
            text = "cannot read the container's files: the machine for that did not boot"
            raise ContainerError(ErrorCode.TIMEOUT, text) from None
        yield guest
