"""What one start of a container takes of the host, acquired in the order that is quickest; an exit stack lets it go."""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from container.model.launch import Launch
from container.plugins.runtime import network, plan, upper
from container.plugins.runtime.network import Attached
from container.plugins.runtime.timeline import Timeline
from container.vm.initramfs import agent_path, build
from container.vm.spec import Nic, VMSpec

if TYPE_CHECKING:
    from container.linux.ports import BoundPorts
    from container.plugins.runtime.sockets import HostSockets
    from container.plugins.runtime.storage import Storage


@dataclass(frozen=True)
class Resources:
    """Ports and sockets of the host, file servers and locked images, leases and taps; and the machine made of them."""

    ports: "BoundPorts | None"
    sockets: "HostSockets | None"
    storage: "Storage | None"
    attached: Sequence[Attached]
    spec: VMSpec


async def acquire(
    stack: contextlib.AsyncExitStack,
    launch: Launch,
    bundle: str,
    cache: str,
    *,
    group: asyncio.TaskGroup,
    timeline: Timeline,
) -> Resources:
    """Everything that must be there before QEMU starts; `stack` owns it. Raises ContainerError."""
    configuration = launch.configuration
    plan.check(configuration)
    ports = _bind_ports(stack, launch, timeline)
    sockets = _bind_sockets(stack, launch, bundle)
    answers = await stack.enter_async_context(network.attach(launch, group))
    disk, initramfs = await asyncio.to_thread(make_disks, launch, bundle, cache)
    timeline.mark("disks ready")
    storage = await _attach_storage(stack, launch, bundle, cache, group)
    if storage is not None:
        timeline.mark("volumes attached")
    attached = await answers()
    timeline.mark("networks attached")
    nics = [Nic(item.tap) for item in attached]
    volumes, shares = (storage.disks, storage.shares) if storage else ((), ())
    spec = plan.machine(launch, initramfs, disk, nics, len(os.sched_getaffinity(0)), volumes, shares)
    return Resources(ports, sockets, storage, attached, spec)


def _bind_ports(stack: contextlib.AsyncExitStack, launch: Launch, timeline: Timeline) -> "BoundPorts | None":
    published = launch.configuration.published_ports
    if not published:
        return None
    from container.linux.ports import bind_ports

    ports = stack.enter_context(bind_ports(published))
    timeline.mark("ports bound")
    return ports


def _bind_sockets(stack: contextlib.AsyncExitStack, launch: Launch, bundle: str) -> "HostSockets | None":
    published = launch.configuration.published_sockets
    if not published:
        return None
    from container.plugins.runtime import sockets

    return stack.enter_context(sockets.bind(published, bundle))


def make_disks(launch: Launch, bundle: str, cache: str) -> tuple[str, str]:
    """The paths of the container's disk and of the initramfs. Blocks. Raises ContainerError."""
    return upper.of(launch.configuration, bundle, cache), build(launch.kernel, agent_path(), cache)


async def _attach_storage(
    stack: contextlib.AsyncExitStack, launch: Launch, bundle: str, cache: str, group: asyncio.TaskGroup
) -> "Storage | None":
    """Volumes and directories of the host, when the container has any."""
    mounts = launch.configuration.mounts
    if all(mount.kind == "tmpfs" for mount in mounts):
        return None
    from container.plugins.runtime import storage

    if unprepared := storage.unprepared(mounts):
        from container.plugins.runtime.prepare import prepare

        await prepare(launch, unprepared, bundle, cache, group)
    return await stack.enter_async_context(storage.attach(launch.configuration, bundle))
