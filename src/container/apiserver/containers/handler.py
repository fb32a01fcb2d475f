"""`io.container.Containers` on the wire: every call is the service's."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from asyncvarlink import FileDescriptor

from container.api.containers import Containers
from container.apiserver.containers.service import ContainersService
from container.apiserver.containers.streams import Streams
from container.model.container import ContainerRequest, ContainerSnapshot
from container.model.event import CreateEvent, LogFiles, ProcessEvent
from container.model.process import ProcessRequest, WindowSize
from container.model.prune import Pruned


class ContainersHandler(Containers):
    """Serves a ContainersService; see the interface for the contract."""

    def __init__(self, service: ContainersService, prune: Callable[[], Awaitable[Pruned]]) -> None:
        self._service = service
        self._prune = prune

    async def Create(self, *, request: ContainerRequest) -> AsyncIterator[CreateEvent]:
        async with aclosing(self._service.create(request)) as events:
            async for event in events:
                yield event

    async def Start(
        self,
        *,
        id: str,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
        environment: dict[str, str] | None = None,
        notices: bool = False,
    ) -> AsyncIterator[ProcessEvent]:
        streams = Streams(stdin, stdout, stderr, attachment)
        async with aclosing(self._service.start(id, streams, wait, environment or {}, notices)) as events:
            async for event in events:
                yield event

    async def Exec(
        self,
        *,
        id: str,
        process: ProcessRequest,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncIterator[ProcessEvent]:
        async with aclosing(
            self._service.exec(id, process, Streams(stdin, stdout, stderr, attachment), wait)
        ) as events:
            async for event in events:
                yield event

    async def Signal(self, *, id: str, process: str, signal: str) -> None:
        await self._service.signal(id, process, signal)

    async def Resize(self, *, id: str, process: str, size: WindowSize) -> None:
        await self._service.resize(id, process, size)

    async def Wait(self, *, id: str) -> None:
        await self._service.wait(id)

    async def Stop(self, *, id: str, signal: str | None, timeout: float) -> str:
        return await self._service.stop(id, signal, timeout)

    async def Kill(self, *, id: str, signal: str) -> str:
        return await self._service.kill(id, signal)

    async def Delete(self, *, id: str, force: bool) -> str:
        return await self._service.delete(id, force)

    async def Prune(self) -> Pruned:
        return await self._prune()

    async def List(self, *, all: bool) -> list[ContainerSnapshot]:
        return await self._service.list(all)

    async def Get(self, *, id: str) -> ContainerSnapshot:
        return await self._service.get(id)

    async def Logs(self, *, id: str) -> LogFiles:
        return await self._service.logs(id)
