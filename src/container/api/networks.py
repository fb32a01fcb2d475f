"""`io.container.Networks`: the networks of a system, as the API server offers them."""

from container.ipc.interface import Interface, method
from container.model.network import Network, NetworkPruneResult, NetworkRequest


class Networks(Interface, name="io.container.Networks"):
    """Served on `paths.APISERVER`. An unknown name is `notFound`."""

    @method("networks")
    async def List(self) -> list[Network]:
        """Every network, sorted by id."""

    @method("network")
    async def Create(self, *, request: NetworkRequest) -> Network:
        """Make a network and its helper. A name or subnet that is taken is `exists`, a bad one `invalidArgument`."""

    @method()
    async def Delete(self, *, id: str) -> None:
        """Remove a network. A built-in one is `invalidArgument`, one that a container refers to `invalidState`."""

    @method("result")
    async def Prune(self) -> NetworkPruneResult:
        """Remove every network that is neither built in nor referred to by a container, running or stopped."""
