"""The containers of a system: what they are, what may be done to them when, and their runs.

All state is in memory and changes between two awaits only; whoever awaited looks again. What must not be left half done
runs in the background and is waited for, so that a caller may go at any time.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType

from container import paths
from container.apiserver.background import Background
from container.apiserver.containers import configuration, lookup, merge, names, volumes
from container.apiserver.containers.container import Container
from container.apiserver.containers.creation import Creation
from container.apiserver.containers.helper import Helpers, speaking_of
from container.apiserver.containers.lifecycle import KILL, KILL_TIMEOUT, Lifecycle
from container.apiserver.containers.records import DEFAULT_RUNTIME, ContainerRecord, ContainerRecords
from container.apiserver.containers.run import Run
from container.apiserver.containers.streams import Streams
from container.errors import ContainerError, ErrorCode, internal, invalid_state, not_found
from container.model.container import ContainerRequest, ContainerSnapshot, ContainerState
from container.model.event import CreateEvent, LogFiles, ProcessEvent, Progress
from container.model.process import ProcessRequest, WindowSize
from container.model.signals import parse_signal
from container.store.entities import Corrupt

_log = logging.getLogger(__name__)

SSH_VARIABLE = "SSH_AUTH_SOCK"
NOTHING: Mapping[str, str] = MappingProxyType({})
RECOVERY_TIMEOUT = 5.0  # seconds for the helpers that run to answer a new API server


class ContainersService:
    """See `api.containers.Containers` for what each operation does; all raise ContainerError."""

    def __init__(
        self, records: ContainerRecords, helpers: Helpers, creation: Creation, lifecycle: Lifecycle, tasks: Background
    ) -> None:
        self._records = records
        self._helpers = helpers
        self._creation = creation
        self._lifecycle = lifecycle
        self._tasks = tasks
        self._containers = lifecycle.containers
        self._corrupt: dict[str, Corrupt] = {}
        self._claimed: dict[str, list[str]] = {}  # ids of containers that are being made, and their networks
        self._claimed_volumes: dict[str, list[str]] = {}  # and their volumes
        self._recovered = asyncio.Event()

    async def recover(self) -> None:
        """Load the records and take up the runs that are under way; until then every operation waits."""
        loaded = await asyncio.to_thread(self._records.load_all)
        for corrupt in loaded.corrupt:
            _log.error("container %s cannot be loaded: %s: %s", corrupt.id, corrupt.path, corrupt.reason)
            self._corrupt[corrupt.id] = corrupt
        running = await self._helpers.running()
        for id, record in loaded.records.items():
            container = self._containers[id] = Container(record, self._records.outcome(id))
            if paths.runtime_service(record.configuration.runtime_handler, id) in running:
                self._lifecycle.adopt(container)
            elif record.configuration.auto_remove:
                self._lifecycle.discard_nowait(container)
        try:
            async with asyncio.timeout(RECOVERY_TIMEOUT):
                for container in list(self._containers.values()):
                    if container.run is not None:
                        await container.run.seen.wait()
        except TimeoutError:
            _log.error("not every runtime helper answered within %g s", RECOVERY_TIMEOUT)
        self._recovered.set()

    async def create(self, request: ContainerRequest) -> AsyncGenerator[CreateEvent, None]:
        """Make a container; one that fails leaves nothing."""
        await self._recovered.wait()
        id = names.choose_id(request.id)
        if id in self._containers or id in self._claimed or id in self._corrupt:
            raise ContainerError(ErrorCode.EXISTS, f"container already exists: {id}")
        request = volumes.name_anonymous(request)
        self._claimed[id] = [item.network for item in configuration.networks(request, id, None)]
        self._claimed_volumes[id] = volumes.names(request.mounts)
        hung_up = asyncio.Event()
        try:
            async with aclosing(self._creation.make(request, id)) as items:
                async for item in items:
                    if isinstance(item, Progress):
                        yield CreateEvent(progress=item)
                    elif isinstance(item, CreateEvent):
                        yield item
                    else:
                        await self._tasks.complete(self._commit(item, hung_up), f"the creation of {id}")
        except asyncio.CancelledError:
            hung_up.set()
            raise
        finally:
            self._claimed.pop(id, None)
            self._claimed_volumes.pop(id, None)
        yield CreateEvent(id=id)

    async def start(
        self, id: str, streams: Streams, wait: bool, environment: Mapping[str, str] = NOTHING, notices: bool = False
    ) -> AsyncGenerator[ProcessEvent, None]:
        """Boot a stopped container, and with `wait` follow it to its exit."""
        container = await self._find_for_start(id)
        run = container.run
        if run is not None:
            if streams or wait:
                hint = "`container exec` runs a further process"
                raise invalid_state(f"attach is currently unsupported on already running containers; {hint}")
            await run.wait_booted()
            yield ProcessEvent(started=True, process=container.id)
            return
        run = self._lifecycle.begin(container, streams, wait, environment.get(SSH_VARIABLE), notices)
        try:
            async for event in run.boot_events():
                yield event
            if not wait:
                return
            event = await run.exit_event()
            await self._lifecycle.discard_if_asked(container, run)
            yield event
        except ContainerError:
            await self._lifecycle.discard_if_asked(container, run)
            raise
        finally:
            run.detach()

    async def exec(
        self, id: str, request: ProcessRequest, streams: Streams, wait: bool
    ) -> AsyncGenerator[ProcessEvent, None]:
        """Start a further process in a running container."""
        container = await self._find(id, f"get failed: container {id} not found")
        run = self._running(container)
        process = merge.exec_process(request, container.configuration.init_process)
        with speaking_of(container.id):
            async with run.helper.exec(process, streams, wait) as events:
                async for event in events:
                    yield event

    async def signal(self, id: str, process: str, signal: str) -> None:
        """Send a signal to a process of a running container."""
        number = parse_signal(signal)
        container = await self._find(id)
        run = self._running(container)
        with speaking_of(container.id):
            await run.helper.signal(container.id if process == id else process, number)

    async def resize(self, id: str, process: str, size: WindowSize) -> None:
        """Set the window size of a process."""
        container = await self._find(id)
        run = self._running(container)
        with speaking_of(container.id):
            await run.helper.resize(container.id if process == id else process, size)

    async def wait(self, id: str) -> None:
        """Wait until it is stopped and cleaned up, with `--rm` removed; at once for one that is not there."""
        await self._recovered.wait()
        if (container := self._containers.get(self._meant(id))) is None:
            return
        if (run := container.run) is not None:
            await run.settled.wait()
            await self._lifecycle.discard_if_asked(container, run)
        elif container.removal is not None:
            await self._lifecycle.discard(container)

    async def stop(self, id: str, signal: str | None, timeout: float) -> str:
        """Signal, wait `timeout` seconds, KILL; the id."""
        container = await self._find(id)
        number = parse_signal(signal) if signal else container.stop_signal
        await self._lifecycle.end(container, number, timeout)
        return container.id

    async def kill(self, id: str, signal: str) -> str:
        """Send a signal to the init process, with KILL wait for the end; the id."""
        number = parse_signal(signal)
        container = await self._find(id)
        run = container.run
        if run is None or run.stopped.is_set():
            raise invalid_state(f"no runtime client exists: container is stopped; `container start {id}` starts it")
        if number == KILL:
            await self._lifecycle.end(container, number, KILL_TIMEOUT)
        else:
            await self.signal(container.id, container.id, signal)
        return container.id

    async def delete(self, id: str, force: bool) -> str:
        """Remove a container with all it owns; the id."""
        await self._recovered.wait()
        if (corrupt := self._meant(id)) in self._corrupt:
            await self._tasks.complete(self._remove_corrupt(corrupt), f"the removal of {corrupt}")
            return corrupt
        container = await self._find(id)
        while (run := container.run) is not None:
            if force:
                await self._lifecycle.end(container, KILL, KILL_TIMEOUT)
            elif run.stopped.is_set():
                await run.settled.wait()
            else:
                hint = "stop it first, or use --force"
                raise invalid_state(f"container {container.id} is running and can not be deleted; {hint}")
        container.check_unread()
        await self._lifecycle.discard(container)
        return container.id

    async def on_network(self, network: str) -> list[str]:
        """Ids of the containers that refer to a network, running or not, also of those that are being made."""
        await self._recovered.wait()
        found = {id for id, networks in self._claimed.items() if network in networks}
        for id, container in self._containers.items():
            if any(item.network == network for item in container.configuration.networks):
                found.add(id)
        return sorted(found)

    async def with_volume(self, volume: str) -> list[str]:
        """Ids of the containers that refer to a volume, running or not, also of those that are being made."""
        await self._recovered.wait()
        found = {id for id, claimed in self._claimed_volumes.items() if volume in claimed}
        for id, container in self._containers.items():
            if volume in volumes.names(container.configuration.mounts):
                found.add(id)
        return sorted(found)

    async def list(self, all: bool) -> list[ContainerSnapshot]:
        """Snapshots from memory, sorted by id; asks no helper."""
        await self._recovered.wait()
        containers = sorted(self._containers.values(), key=lambda container: container.id)
        return [item.snapshot for item in containers if all or item.status.state is not ContainerState.STOPPED]

    async def get(self, id: str) -> ContainerSnapshot:
        """One snapshot."""
        return (await self._find(id, f"get failed: container {id} not found")).snapshot

    async def find(self, id: str) -> Container:
        """One container, for those who read its files. Raises ContainerError(notFound)."""
        return await self._find(id, f"get failed: container {id} not found")

    async def logs(self, id: str) -> LogFiles:
        """Where the logs are."""
        container = await self._find(id, f"failed to open container logs: container with ID {id} not found")
        return self._records.logs(container.id)

    def _meant(self, word: str) -> str:
        """The id that a caller's word for a container means, the word itself if it is none's."""
        gone = {id for id, container in self._containers.items() if container.removal is not None}
        return lookup.full_id(word, (self._containers.keys() - gone | self._corrupt.keys()))

    async def _find(self, id: str, missing: str | None = None) -> Container:
        await self._recovered.wait()
        id = self._meant(id)
        container = self._containers.get(id)
        if container is not None and container.removal is None:
            return container
        if container is not None:
            await self._lifecycle.discard(container)
        if (corrupt := self._corrupt.get(id)) is not None:
            raise internal(f"container {id} cannot be loaded: {corrupt.path}: {corrupt.reason}")
        what = missing or f"container with ID {id} not found"
        raise not_found(f"{what}; `container list --all` shows those that there are")

    async def _find_for_start(self, id: str) -> Container:
        """The container when no former run of it is still being cleaned up."""
        while True:
            container = await self._find(id, f"get failed: container {id} not found")
            container.check_unread()
            run = container.run
            if run is None or not run.stopped.is_set():
                return container
            await run.settled.wait()
            await self._lifecycle.discard_if_asked(container, run)

    def _running(self, container: Container) -> Run:
        run = container.run
        if run is None or not run.running or run.stopped.is_set():
            hint = f"`container start {container.id}` starts it"
            raise invalid_state(f"container {container.id} is not running; {hint}")
        return run

    async def _remove_corrupt(self, id: str) -> None:
        await self._helpers.of(id, DEFAULT_RUNTIME).deregister()
        await asyncio.to_thread(self._records.delete, id)
        self._corrupt.pop(id, None)

    async def _commit(self, record: ContainerRecord, hung_up: asyncio.Event) -> None:
        await asyncio.to_thread(self._records.create, record)
        container = self._containers[record.configuration.id] = Container(record)
        if hung_up.is_set():
            await self._lifecycle.discard(container)
