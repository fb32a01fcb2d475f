"""The seams to the processes that containers depend on: a runtime helper for each, the image helper for all."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol

from container import paths
from container.api.images import Images
from container.api.runtime import Runtime
from container.apiserver.catalogue import Catalogue, register
from container.apiserver.containers.streams import Streams
from container.errors import ContainerError, ErrorCode, ServiceLost, internal
from container.ipc.client import Client
from container.model.container import ContainerStatus
from container.model.event import PrepareEvent, ProcessEvent
from container.model.image import Platform
from container.model.job import Job, JobState
from container.model.launch import Launch
from container.model.process import ProcessConfiguration, WindowSize
from container.supervisor.base import SupervisorBackend

Stream = AbstractAsyncContextManager[AsyncIterator[ProcessEvent]]
STOP_MARGIN = 60.0  # seconds beyond the stop timeout in which a helper must be done


class ImageStore(Protocol):
    """What is asked of the image helper."""

    def prepare(
        self, reference: str, platform: Platform, scheme: str, max_concurrent_downloads: int
    ) -> AbstractAsyncContextManager[AsyncIterator[PrepareEvent]]:
        """As `Images.Prepare`."""


class RuntimeHelper(Protocol):
    """The runtime helper of one container, and its job. Every call raises ContainerError."""

    async def register(self) -> None:
        """Have a fresh helper started."""

    async def deregister(self) -> None:
        """End the helper, by force if need be; returns when it is gone. No-op when there is none."""

    def start(self, launch: Launch, streams: Streams, wait: bool) -> Stream:
        """As `Runtime.Start`."""

    def exec(self, process: ProcessConfiguration, streams: Streams, wait: bool) -> Stream:
        """As `Runtime.Exec`."""

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[ContainerStatus]]:
        """As `Runtime.Watch`."""

    async def signal(self, process: str, signal: int) -> None:
        """As `Runtime.Signal`."""

    async def resize(self, process: str, size: WindowSize) -> None:
        """As `Runtime.Resize`."""

    async def stop(self, signal: int, timeout: float) -> None:
        """As `Runtime.Stop`; `timeout` when the helper is not done a minute after that."""


class RemoteImageStore:
    """The image helper behind its socket."""

    def __init__(self, socket_path: str) -> None:
        self._client = Client(socket_path)

    def prepare(
        self, reference: str, platform: Platform, scheme: str, max_concurrent_downloads: int
    ) -> AbstractAsyncContextManager[AsyncIterator[PrepareEvent]]:
        """As `Images.Prepare`."""
        return self._client.stream(
            Images.Prepare,
            reference=reference,
            platform=platform,
            scheme=scheme,
            max_concurrent_downloads=max_concurrent_downloads,
        )


class RemoteRuntimeHelper:
    """A runtime helper behind its socket, run by the supervisor."""

    def __init__(self, job: Job, supervisor: SupervisorBackend) -> None:
        self._job = job
        self._supervisor = supervisor
        self._client = Client(job.sockets[0])

    async def register(self) -> None:
        """Have a fresh helper started."""
        await register(self._supervisor, self._job)

    async def deregister(self) -> None:
        """End the helper; returns when it is gone."""
        try:
            await self._supervisor.deregister(self._job.label)
        except ContainerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise

    def start(self, launch: Launch, streams: Streams, wait: bool) -> Stream:
        """As `Runtime.Start`."""
        return self._client.stream(
            Runtime.Start,
            launch=launch,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            attachment=streams.attachment,
            wait=wait,
        )

    def exec(self, process: ProcessConfiguration, streams: Streams, wait: bool) -> Stream:
        """As `Runtime.Exec`."""
        return self._client.stream(
            Runtime.Exec,
            process=process,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            attachment=streams.attachment,
            wait=wait,
        )

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[ContainerStatus]]:
        """As `Runtime.Watch`."""
        return self._client.stream(Runtime.Watch)

    async def signal(self, process: str, signal: int) -> None:
        """As `Runtime.Signal`."""
        await self._client.call(Runtime.Signal, process=process, signal=signal)

    async def resize(self, process: str, size: WindowSize) -> None:
        """As `Runtime.Resize`."""
        await self._client.call(Runtime.Resize, process=process, size=size)

    async def stop(self, signal: int, timeout: float) -> None:
        """As `Runtime.Stop`."""
        client = Client(self._job.sockets[0], timeout=timeout + STOP_MARGIN)
        await client.call(Runtime.Stop, signal=signal, timeout=timeout)


class Helpers(Protocol):
    """The runtime helpers of a system."""

    def of(self, id: str, runtime: str) -> RuntimeHelper:
        """The helper of one container. Raises ContainerError(notFound) `unable to locate runtime plugin X`."""

    async def running(self) -> set[str]:
        """Services (`paths.runtime_service`) whose helper runs now; jobs of ended ones are removed."""


class SupervisedHelpers:
    """Runtime helpers as jobs of the supervisor."""

    def __init__(self, catalogue: Catalogue, supervisor: SupervisorBackend) -> None:
        self._catalogue = catalogue
        self._supervisor = supervisor

    def of(self, id: str, runtime: str) -> RuntimeHelper:
        """The helper of one container."""
        return RemoteRuntimeHelper(self._catalogue.runtime_job(runtime, id), self._supervisor)

    async def running(self) -> set[str]:
        """Services whose helper runs now; jobs of ended ones are removed."""
        running = set()
        for status in await self._supervisor.list():
            label = status.job.label
            if not label.startswith(paths.RUNTIME_PREFIX):
                continue
            if status.state is JobState.RUNNING:
                running.add(label)
            else:
                await self._supervisor.deregister(label)
        return running


@contextmanager
def speaking_of(id: str) -> Iterator[None]:
    """Call what went away by its name: to users an interrupted call means that the system is down."""
    try:
        yield
    except ContainerError as error:
        if error.code is not ErrorCode.INTERRUPTED:
            raise
        gone = "runtime helper" if isinstance(error, ServiceLost) else "machine"
        raise internal(f"the {gone} of container {id} went away: {error.message}") from error
