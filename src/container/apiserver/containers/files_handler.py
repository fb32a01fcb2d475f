"""`io.container.Files` on the wire: every call is the service's."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from asyncvarlink import FileDescriptor

from container.api.files import Files
from container.apiserver.containers.files import FilesService
from container.model.event import ImageEvent
from container.model.files import CommitOptions, Tree


class FilesHandler(Files):
    """Serves a FilesService; see the interface for the contract."""

    def __init__(self, service: FilesService) -> None:
        self._service = service

    async def CopyIn(self, *, id: str, path: str, members: bool, archive: FileDescriptor) -> None:
        await self._service.copy_in(id, path, members, archive)

    async def CopyOut(self, *, id: str, path: str, attributes: bool, archive: FileDescriptor) -> None:
        await self._service.copy_out(id, path, attributes, archive)

    async def Read(self, *, id: str, tree: Tree, output: FileDescriptor) -> None:
        await self._service.read(id, tree, output)

    async def Commit(self, *, id: str, reference: str, options: CommitOptions) -> AsyncIterator[ImageEvent]:
        async with aclosing(self._service.commit(id, reference, options)) as events:
            async for event in events:
                yield event
