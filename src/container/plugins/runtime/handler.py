"""`io.container.Runtime` on the wire: takes calls apart, hands them to the service."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator

from asyncvarlink import FileDescriptor

from container.api.runtime import Runtime
from container.model.container import ContainerStatus
from container.model.event import ProcessEvent
from container.model.files import Tree
from container.model.launch import Launch
from container.model.process import ProcessConfiguration, WindowSize
from container.plugins.runtime.service import RuntimeService
from container.plugins.runtime.stdio import Streams


class RuntimeHandler(Runtime, name="io.container.Runtime"):
    """Serves one RuntimeService."""

    def __init__(self, service: RuntimeService) -> None:
        self._service = service
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answered(self) -> None:
        """Wait until every call has its answer."""
        await self._idle.wait()

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def Start(
        self,
        *,
        launch: Launch,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncGenerator[ProcessEvent, None]:
        """See the interface."""
        streams = Streams.duplicate(stdin, stdout, stderr, attachment)
        with self._call():
            async with contextlib.aclosing(self._service.start(launch, streams, wait=wait)) as events:
                async for event in events:
                    yield event

    async def Exec(
        self,
        *,
        process: ProcessConfiguration,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncGenerator[ProcessEvent, None]:
        """See the interface."""
        streams = Streams.duplicate(stdin, stdout, stderr, attachment)
        with self._call():
            async with contextlib.aclosing(self._service.exec(process, streams, wait=wait)) as events:
                async for event in events:
                    yield event

    async def Signal(self, *, process: str, signal: int) -> None:
        """See the interface."""
        with self._call():
            await self._service.signal(process, signal)

    async def Resize(self, *, process: str, size: WindowSize) -> None:
        """See the interface."""
        with self._call():
            await self._service.resize(process, size)

    async def Stop(self, *, signal: int, timeout: float) -> None:
        """See the interface."""
        with self._call():
            await self._service.stop(signal, timeout)

    async def CopyIn(self, *, path: str, members: bool, archive: FileDescriptor) -> None:
        """See the interface."""
        with self._call():
            await self._service.copy_in(path, archive.fileno(), members=members)

    async def CopyOut(self, *, path: str, attributes: bool, archive: FileDescriptor) -> None:
        """See the interface."""
        with self._call():
            await self._service.copy_out(path, archive.fileno(), attributes=attributes)

    async def Read(self, *, tree: Tree, archive: FileDescriptor, launch: Launch | None) -> None:
        """See the interface."""
        with self._call():
            await self._service.read(tree, archive.fileno(), launch)

    async def Status(self) -> ContainerStatus:
        """See the interface."""
        return self._service.status()

    async def Watch(self) -> AsyncGenerator[ContainerStatus, None]:
        """See the interface."""
        with self._call():
            async with contextlib.aclosing(self._service.watch()) as statuses:
                async for status in statuses:
                    yield status
