"""`io.container.System` on the wire: every call is the service's."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from container.api.system import System
from container.apiserver.system.housekeeping import Housekeeping
from container.apiserver.system.service import SystemService, missing_binary
from container.apiserver.system.usage import Usage
from container.model.event import Progress
from container.model.plugin import CLIPlugin
from container.model.prune import Pruned
from container.model.system import DiskUsage, Health, Kernel


class SystemHandler(System):
    """Serves a SystemService, a Usage and a Housekeeping; see the interface for the contract."""

    def __init__(self, service: SystemService, usage: Usage, housekeeping: Housekeeping) -> None:
        self._service = service
        self._usage = usage
        self._housekeeping = housekeeping

    async def Ping(self) -> Health:
        return self._service.health()

    async def AwaitAccelerator(self) -> Health:
        return await self._service.decided()

    async def GetKernel(self, *, architecture: str) -> Kernel | None:
        return await self._service.default_kernel(architecture)

    async def SetKernel(
        self, *, binary: str | None, modules: str | None, architecture: str, recommended: bool, force: bool
    ) -> AsyncIterator[Progress]:
        if recommended:
            steps = self._service.install_recommended_kernel(architecture, force)
        elif binary is not None:
            steps = self._service.install_kernel(binary, modules, architecture, force)
        else:
            raise missing_binary()
        async with aclosing(steps) as progress:
            async for step in progress:
                yield step

    async def CLIPlugins(self) -> list[CLIPlugin]:
        return self._service.cli_plugins()

    async def DiskUsage(self) -> DiskUsage:
        return await self._usage.measure()

    async def Prune(self) -> Pruned:
        return await self._housekeeping.prune()
