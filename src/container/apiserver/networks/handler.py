"""`io.container.Networks` on the wire: every call is the service's."""

from container.api.networks import Networks
from container.apiserver.networks.service import NetworksService
from container.model.network import Network, NetworkPruneResult, NetworkRequest


class NetworksHandler(Networks):
    """Serves a NetworksService; see the interface for the contract."""

    def __init__(self, service: NetworksService) -> None:
        self._service = service

    async def List(self) -> list[Network]:
        return await self._service.list()

    async def Create(self, *, request: NetworkRequest) -> Network:
        return await self._service.create(request)

    async def Delete(self, *, id: str) -> None:
        await self._service.delete(id)

    async def Prune(self) -> NetworkPruneResult:
        return await self._service.prune()
