"""Beginning, ending and removing: the transitions of a container, each bounded and each safe to be asked for twice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from container.apiserver.background import Background
from container.apiserver.containers.container import Container
from container.apiserver.containers.helper import Helpers
from container.apiserver.containers.launch import Launches
from container.apiserver.containers.records import ContainerRecords
from container.apiserver.containers.run import Run
from container.apiserver.containers.starts import Starts
from container.apiserver.containers.streams import Streams
from container.apiserver.containers.volumes import exclusive
from container.errors import ContainerError, ErrorCode, invalid_state
from container.log import fields
from container.model.container import ContainerState, ContainerStatus
from container.model.event import ProcessEvent, Progress
from container.model.launch import Launch

_log = logging.getLogger(__name__)

KILL = 9
PATIENCE = 5.0  # seconds after which a start is explained
KILL_TIMEOUT = 5.0  # seconds between KILL and force
SETTLE_TIMEOUT = 15.0  # seconds for a helper to end once its VM has


class Lifecycle:
    """Owns the runs. `containers` holds every container that there is, by id."""

    def __init__(
        self, records: ContainerRecords, helpers: Helpers, launches: Launches, tasks: Background, starts: Starts
    ) -> None:
        self.containers: dict[str, Container] = {}
        self._starts = starts
        self._records = records
        self._helpers = helpers
        self._launches = launches
        self._tasks = tasks

    def begin(
        self,
        container: Container,
        streams: Streams,
        wait: bool,
        ssh_socket: str | None = None,
        notices: bool = False,
    ) -> Run:
        """Start a stopped container in the background; `streams` are duplicated. `notices`: the caller shows them.

        Raises ContainerError(invalidState) while another container has one of its volumes that cannot be shared.
        """
        self._check_volumes(container)
        run = self._new_run(container)
        self._records.forget_outcome(container.id)
        _log.info("starting container", extra=fields(id=container.id))
        own = streams.duplicate()

        async def prepare() -> Launch:
            launch = await self._launches.launch(container.record, ssh_socket)
            if notices and (notice := self._launches.notice()) is not None:
                run.tell(ProcessEvent(notice=notice))
            return launch

        self._keep(container, run, lambda: run.start(prepare, own, wait))
        if notices:
            self._tasks.start(self._explain(run), f"the watch over the start of {container.id}")
        return run

    async def _explain(self, run: Run) -> None:
        """Say why a start takes long, as often as that may have changed."""
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    await run.booted.wait()
                return
            except TimeoutError:
                if (note := self._launches.delay()) is not None:
                    run.tell(ProcessEvent(progress=Progress("Starting container", note=note)))

    def is_starting(self) -> bool:
        """Whether a machine is on its way up, for a start or to read files, and needs what the cache has."""
        every = self.containers.values()
        return any(each.read or (each.run is not None and not each.run.booted.is_set()) for each in every)

    def has_own_kernel(self) -> bool:
        """Whether a container has a kernel of its own, which may need the modules of any that is installed."""
        return any(each.configuration.kernel is not None for each in self.containers.values())

    def _check_volumes(self, container: Container) -> None:
        wanted = exclusive(container.configuration)
        for other in self.containers.values():
            held = other is not container and other.run is not None and not other.run.stopped.is_set()
            for volume in sorted(wanted & exclusive(other.configuration)) if held else ():
                raise invalid_state(
                    f"volume '{volume}' is currently in use by container {other.id} "
                    "and cannot be accessed by another container; stop that first"
                )

    def adopt(self, container: Container) -> None:
        """Take up the run that an earlier API server began."""
        try:
            run = self._new_run(container)
        except ContainerError as error:
            _log.error("cannot watch container %s: %s", container.id, error.describe())
            container.last = ContainerStatus(ContainerState.UNKNOWN, reason=error.describe())
            return
        self._keep(container, run, run.adopt)

    async def end(self, container: Container, signal: int, timeout: float) -> None:
        """Signal, wait `timeout` seconds, KILL, force; returns when it is stopped and cleaned up. Stopped: no-op.

        Raises ContainerError when the helper refuses.
        """
        run = container.run
        if run is None:
            return
        if not run.running:
            run.abandon("it was stopped while it was starting")
        elif not run.stopped.is_set():
            await self._ask_to_stop(run, signal, timeout)
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await run.settled.wait()
        except TimeoutError:
            run.abandon("the runtime helper did not end in time")
            await run.settled.wait()
        await self.discard_if_asked(container, run)

    async def discard_if_asked(self, container: Container, run: Run) -> None:
        """Wait for the end of `run`'s cleanup where the container goes with its run (`--rm`)."""
        if container.configuration.auto_remove:
            await run.settled.wait()
            await self.discard(container)

    async def discard(self, container: Container) -> None:
        """Remove a stopped container and all it owns; a caller that goes does not keep it from that."""
        await asyncio.shield(self.discard_nowait(container))

    def discard_nowait(self, container: Container) -> "asyncio.Future[None]":
        """Begin to remove a stopped container: from now on nothing else can be done to it."""
        if container.removal is None:
            container.removal = asyncio.get_running_loop().create_future()
            self._tasks.start(self._remove(container, container.removal), f"the removal of {container.id}")
        return container.removal

    async def _remove(self, container: Container, done: "asyncio.Future[None]") -> None:
        try:
            await asyncio.to_thread(self._records.delete, container.id, container.configuration.runtime_handler)
        except Exception as error:  # whatever it is: somebody waits for an answer
            if not (isinstance(error, ContainerError) and error.code is ErrorCode.NOT_FOUND):
                _log.error("cannot remove container %s", container.id, exc_info=True)
                container.removal = None
                done.set_exception(error)
                done.exception()  # whoever asked may be gone: then nobody else retrieves it
                return
        del self.containers[container.id]
        done.set_result(None)

    async def _ask_to_stop(self, run: Run, signal: int, timeout: float) -> None:
        try:
            await run.helper.stop(signal, timeout)
        except ContainerError as error:
            if error.code is ErrorCode.TIMEOUT:
                run.abandon(f"the runtime helper did not stop it within {timeout:g} s and was ended")
            elif error.code not in (ErrorCode.INTERRUPTED, ErrorCode.INVALID_STATE):  # these: it ends already
                raise

    def _new_run(self, container: Container) -> Run:
        helper = self._helpers.of(container.id, container.configuration.runtime_handler)
        return Run(container.id, helper, self._tasks, lambda: self._records.outcome(container.id), self._starts)

    def _keep(self, container: Container, run: Run, work: Callable[[], Awaitable[None]]) -> None:
        container.run = run
        self._tasks.start(self._follow(container, run, work), f"container {container.id}")

    async def _follow(self, container: Container, run: Run, work: Callable[[], Awaitable[None]]) -> None:
        await work()
        await asyncio.to_thread(self._records.remove_sockets, container.id)
        container.last = run.status
        _log.info("container stopped", extra=fields(id=container.id, **_end_of(run.status)))
        container.run = None
        run.settled.set()
        if container.configuration.auto_remove:
            await self.discard(container)


def _end_of(status: ContainerStatus) -> dict[str, object]:
    known = {"exitCode": status.exit_code, "reason": status.reason}
    return {key: value for key, value in known.items() if value is not None}
