"""`io.container.System`: the API server about the system as a whole."""

from collections.abc import AsyncIterator

from container.ipc.interface import Interface, method, stream
from container.model.event import Progress
from container.model.plugin import CLIPlugin
from container.model.prune import Pruned
from container.model.system import DiskUsage, Health, Kernel


class System(Interface, name="io.container.System"):
    """Served on `paths.APISERVER`."""

    @method("health")
    async def Ping(self) -> Health:
        """Answers as soon as the API server serves; never waits for anything."""

    @method("health")
    async def AwaitAccelerator(self) -> Health:
        """The same, as soon as no boot is under way that is to tell which accelerator works."""

    @method("kernel")
    async def GetKernel(self, *, architecture: str) -> Kernel | None:
        """The default kernel of an architecture, None when there is none."""

    @stream("progress")
    def SetKernel(
        self, *, binary: str | None, modules: str | None, architecture: str, recommended: bool, force: bool
    ) -> AsyncIterator[Progress]:
        """Install a kernel as the default: `binary` with `modules`, or the recommended one, downloaded."""

    @method("plugins")
    async def CLIPlugins(self) -> list[CLIPlugin]:
        """The plugins without services, sorted by name."""

    @method("usage")
    async def DiskUsage(self) -> DiskUsage:
        """What all that the system keeps takes on disk."""

    @method("result")
    async def Prune(self) -> Pruned:
        """Remove kernels, caches and logs of services that nothing uses."""
