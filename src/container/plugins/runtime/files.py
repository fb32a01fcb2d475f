"""Files into and out of one container: of the machine that runs it, or of one that is booted to read them."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING

from container.errors import ContainerError, ErrorCode, invalid_state
from container.model.files import Tree
from container.model.launch import Launch
from container.plugins.runtime import plan, upper
from container.vm.initramfs import agent_path, build
from container.vm.qemu import VirtualMachine

if TYPE_CHECKING:
    from container.guest.client import GuestClient

READER_MEMORY = 128 << 20  # bytes, on top of what every machine gets
BOOT_LOG = "read.log"
PATIENCE = 300.0  # seconds in which nothing moves, until a copy is given up
FROZEN_PATIENCE = 60.0  # seconds, the same while the container's writes wait
# Seconds, each times the accelerator's `speed`.
BOOT_DEADLINE = 12.0
REQUEST_DEADLINE = 20.0
SHUTDOWN_DEADLINE = 5.0
POWER_OFF_DEADLINE = 1.0

_OPS = {Tree.EXPORT: "tree.export", Tree.LAYER: "tree.layer", Tree.CHANGES: "tree.changes"}


async def read_tree(guest: "GuestClient", tree: Tree, fd: int, *, freeze: bool) -> None:
    """Write a tree to `fd`; with `freeze` writers wait meanwhile. Raises ContainerError."""
    from container.guest.transfer import receive

    freeze = freeze and tree is not Tree.CHANGES
    await receive(guest, _OPS[tree], fd, patience=FROZEN_PATIENCE if freeze else PATIENCE, freeze=freeze)


class Transfers:
    """What is under way between a running container and callers; `interrupt` ends it, for a container that stops."""

    def __init__(self, id: str) -> None:
        self._id = id
        self._scopes: set[asyncio.Timeout] = set()

    async def run(self, work: Awaitable[None]) -> None:
        """Await `work`. Raises what it raises, and ContainerError(invalidState) when interrupted."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                await work
        except TimeoutError:
            raise invalid_state(f"container {self._id} was told to stop meanwhile") from None
        finally:
            self._scopes.discard(scope)

    def interrupt(self) -> None:
        """End all: a container whose files are being read cannot write, and so cannot end."""
        for scope in self._scopes:
            scope.reschedule(asyncio.get_running_loop().time())


class Reader:
    """A machine that runs nothing, for the files of a container that is stopped."""

    def __init__(self, bundle: str, cache: str, launch: Launch) -> None:
        self._bundle, self._cache = bundle, cache
        self._launch = launch
        self.speed = launch.accelerator.speed
        self._transfers = Transfers(launch.configuration.id)

    async def run(self, tree: Tree, fd: int) -> None:
        """Boot, write the tree to `fd`, shut down. Raises ContainerError."""
        await self._transfers.run(self._run(tree, fd))

    def abort(self, exit_code: int, reason: str) -> None:
        """End it now."""
        self._transfers.interrupt()

    async def _run(self, tree: Tree, fd: int) -> None:
        disk, initramfs = await asyncio.to_thread(self._make_disks)
        configuration = self._launch.configuration
        resources = replace(configuration.resources, cpus=1, memory_in_bytes=READER_MEMORY)
        alone = replace(self._launch, configuration=replace(configuration, resources=resources, mounts=[]), networks=[])
        spec = plan.machine(alone, initramfs, disk, (), 1)
        log = os.path.join(self._bundle, BOOT_LOG)
        async with VirtualMachine.start(spec, boot_log=log) as vm:
            await vm.guard(self._session(vm, tree, fd), doing=f"reading container {configuration.id}")
            await vm.shutdown(grace=POWER_OFF_DEADLINE)

    def _make_disks(self) -> tuple[str, str]:
        disk = upper.of(self._launch.configuration, self._bundle, self._cache)
        return disk, build(self._launch.kernel, agent_path(), self._cache)

    async def _session(self, vm: VirtualMachine, tree: Tree, fd: int) -> None:
        from container.plugins.runtime import guestplan

        async with self._guest(vm) as guest:
            await guest.mount_rootfs(guestplan.rootfs(self._launch), timeout=REQUEST_DEADLINE * self.speed)
            await read_tree(guest, tree, fd, freeze=False)
            with contextlib.suppress(ContainerError):
                await guest.shutdown(timeout=SHUTDOWN_DEADLINE * self.speed)

    @contextlib.asynccontextmanager
    async def _guest(self, vm: VirtualMachine) -> "AsyncIterator[GuestClient]":
        from container.guest.client import GuestClient

        async with contextlib.AsyncExitStack() as stack:
            connecting = GuestClient.connect(vm.agent, timeout=2 * BOOT_DEADLINE * self.speed)
            try:
                async with asyncio.timeout(BOOT_DEADLINE * self.speed):
                    guest = await stack.enter_async_context(connecting)
            except TimeoutError:
                raise ContainerError(ErrorCode.TIMEOUT, "the machine that reads the files did not boot") from None
            yield guest
