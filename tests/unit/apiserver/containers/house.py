"""A containers service that a test can end and begin anew, as an API server that is killed and comes back."""

import os
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Self

from unit.apiserver.containers.fakes import FakeHelpers, FakeImages, FakeMachines, FakeNetworks, FakeVolumes

from container.apiserver.background import Background
from container.apiserver.containers.creation import Creation
from container.apiserver.containers.launch import Launches
from container.apiserver.containers.lifecycle import Lifecycle
from container.apiserver.containers.records import ContainerRecords
from container.apiserver.containers.service import ContainersService
from container.apiserver.containers.starts import Starts
from container.apiserver.containers.streams import Streams
from container.config import ContainerDefaults
from container.model.container import ContainerRequest, ContainerState
from container.model.event import ProcessEvent
from container.model.process import ProcessRequest
from container.paths import Roots


class House:
    """`service` and the fakes behind it; the fakes survive `restart`."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.helpers = FakeHelpers()
        self.images = FakeImages()
        self.starts = Starts()
        self.domain: str | None = None
        self.service: ContainersService
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        """End the service, leaving everything behind as it is, and begin another one."""
        await self._stack.aclose()
        await self._open()

    async def _open(self) -> None:
        tasks = await self._stack.enter_async_context(Background())
        records = ContainerRecords(self.roots)
        launches = Launches(FakeMachines(), FakeNetworks())
        defaults = ContainerDefaults(4, 1 << 30)
        creation = Creation(self.images, self.helpers, launches, defaults, self.domain, "amd64", FakeVolumes())
        lifecycle = Lifecycle(records, self.helpers, launches, tasks, self.starts)
        self.service = ContainersService(records, self.helpers, creation, lifecycle, tasks)
        await self.service.recover()

    async def create(self, id: str = "web", **options: object) -> str:
        """Create a container; its id."""
        request = ContainerRequest(**{"image": "busybox", "process": ProcessRequest(), "id": id} | options)  # type: ignore[arg-type]
        last = None
        async for event in self.service.create(request):
            last = event.id or last
        assert last is not None
        return last

    async def start(self, id: str = "web") -> list[ProcessEvent]:
        """Start detached."""
        return [event async for event in self.service.start(id, Streams(), False)]

    async def run_attached(self, id: str = "web") -> int | None:
        """Start and follow to the exit."""
        code = None
        async with aclosing(self.service.start(id, Streams(), True)) as events:
            async for event in events:
                code = event.exit_code if event.exit_code is not None else code
        return code

    async def state(self, id: str = "web") -> ContainerState:
        """State of a container."""
        return (await self.service.get(id)).status.state

    def bundles(self) -> list[str]:
        """What is below `containers/`."""
        return sorted(name for name in os.listdir(os.path.join(self.roots.app, "containers")) if name != ".lock")
