"""`io.container.Volumes` on the wire: every call is the service's."""

from container.api.volumes import Volumes
from container.apiserver.volumes.service import VolumesService
from container.model.prune import Pruned
from container.model.volume import Volume, VolumeRequest


class VolumesHandler(Volumes):
    """Serves a VolumesService; see the interface for the contract."""

    def __init__(self, service: VolumesService) -> None:
        self._service = service

    async def List(self) -> list[Volume]:
        return await self._service.list()

    async def Create(self, *, request: VolumeRequest) -> Volume:
        return await self._service.create(request)

    async def Delete(self, *, id: str) -> None:
        await self._service.delete(id)

    async def Prune(self) -> Pruned:
        return await self._service.prune()
