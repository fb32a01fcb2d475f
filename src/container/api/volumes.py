"""`io.container.Volumes`: the volumes of a system, as the API server offers them."""

from container.ipc.interface import Interface, method
from container.model.prune import Pruned
from container.model.volume import Volume, VolumeRequest


class Volumes(Interface, name="io.container.Volumes"):
    """Served on `paths.APISERVER`. An unknown name is `notFound`."""

    @method("volumes")
    async def List(self) -> list[Volume]:
        """Every volume, sorted by id."""

    @method("volume")
    async def Create(self, *, request: VolumeRequest) -> Volume:
        """Make a volume. A name that is taken is `exists`, a bad name, size or option `invalidArgument`."""

    @method()
    async def Delete(self, *, id: str) -> None:
        """Remove a volume with what is in it; one that a container refers to, running or not, is `invalidState`."""

    @method("result")
    async def Prune(self) -> Pruned:
        """Remove every volume that no container refers to, running or stopped; trim those that stay."""
