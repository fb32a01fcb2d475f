"""Files into and out of one container: of the machine that runs it, or of one that is booted to read them."""

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from container.errors import invalid_state
from container.model.files import Tree
from container.model.launch import Launch
from container.plugins.runtime import guestplan
from container.plugins.runtime.unmanned import REQUEST_DEADLINE, attend, booting

if TYPE_CHECKING:
    from container.guest.client import GuestClient

BOOT_LOG = "read.log"
PATIENCE = 300.0  # seconds in which nothing moves, until a copy is given up
FROZEN_PATIENCE = 60.0  # seconds, the same while the container's writes wait

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
            if not scope.expired():
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
        async def read(guest: "GuestClient") -> None:
            await guest.mount_rootfs(guestplan.rootfs(self._launch), timeout=REQUEST_DEADLINE * self.speed)
            await read_tree(guest, tree, fd, freeze=False)

        doing = f"reading container {self._launch.configuration.id}"
        async with booting(self._launch, self._bundle, self._cache, log=BOOT_LOG) as vm:
            await attend(vm, read, self.speed, doing=doing)
