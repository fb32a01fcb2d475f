"""`io.container.Networks`: the networks of a system, as the API server offers them."""

from container.ipc.interface import Interface, method
from container.model.network import Network


class Networks(Interface, name="io.container.Networks"):
    """Served on `paths.APISERVER`."""

    @method("networks")
    async def List(self) -> list[Network]:
        """Every network, sorted by id."""
