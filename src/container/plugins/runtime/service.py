"""What a runtime helper does: one run of one container, and what can be asked of it meanwhile."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator

from container.errors import ContainerError, ErrorCode, internal, invalid_state, not_found, unexpected
from container.model import codec
from container.model.container import ContainerState, ContainerStatus
from container.model.event import ProcessEvent, Progress
from container.model.files import Tree
from container.model.launch import Launch
from container.model.process import ProcessConfiguration, WindowSize
from container.plugins.runtime.files import PATIENCE, Reader, Transfers, read_tree
from container.plugins.runtime.life import REQUEST_DEADLINE, Life
from container.plugins.runtime.process import ContainerProcess
from container.plugins.runtime.states import Booting, Running, State, Stopped, Stopping, Waiting, status_of
from container.plugins.runtime.stdio import Streams
from container.plugins.runtime.timeline import Timeline
from container.store import atomic

STATUS = "status.json"
SIGHUP, SIGKILL = 1, 9
ENDING_SIGNALS = (1, 2, 3, 9, 15)  # HUP, INT, QUIT, KILL, TERM: what ends a run that has not begun
KILL_DEADLINE = 10.0  # seconds from KILL to the end of the process; then the machine is switched off
START_DEADLINE = 120.0  # seconds from the helper's start to being asked for the container's
SIGNAL_DEADLINE = 5.0  # seconds, times `speed`
FLUSH_DEADLINE = 1.0  # seconds for a caller to read the rest of the output of a container that was stopped

_log = logging.getLogger(__name__)


class RuntimeService:
    """One container. Everything is called in one event loop; `group` runs what must outlive a caller."""

    def __init__(self, id: str, bundle: str, cache: str, *, group: asyncio.TaskGroup, timeline: Timeline) -> None:
        self._id, self._bundle, self._cache = id, bundle, cache
        self._group, self._timeline = group, timeline
        self._state: State = Waiting()
        self._changed = asyncio.Event()
        self._life: Life | Reader | None = None
        self._transfers = Transfers(id)
        self._told_to_stop = asyncio.Event()
        self._stopped = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the end of the run; one that nobody asks for ends after START_DEADLINE."""
        try:
            async with asyncio.timeout(START_DEADLINE):
                while isinstance(self._state, Waiting):
                    await self._changed.wait()
        except TimeoutError:
            await self.stop(SIGKILL, 0)
        await self._stopped.wait()

    async def start(self, launch: Launch, streams: Streams, *, wait: bool) -> AsyncGenerator[ProcessEvent, None]:
        """Begin the run; `streams` go over to the init process. Raises ContainerError(invalidState) the second time."""
        if not isinstance(self._state, Waiting):
            streams.close()
            raise invalid_state(f"container {self._id} was started already")
        self._timeline.mark("start asked")
        terminal = launch.configuration.init_process.terminal
        init = ContainerProcess(self._id, streams, terminal=terminal, unwanted=self._unwanted)
        self._life = Life(
            self._bundle,
            self._cache,
            launch,
            init,
            group=self._group,
            timeline=self._timeline,
            become=self._become,
        )
        self._become(Booting(launch))
        self._group.create_task(self._live(self._life, init))
        async with contextlib.aclosing(init.events(Progress("Starting container"), wait=wait)) as events:
            async for event in events:
                yield event

    def _unwanted(self) -> None:
        """Whoever was to be attached has gone before there was anything to be attached to."""
        self._abort(SIGHUP, "its caller went away while the container was starting")

    async def _live(self, life: Life, init: ContainerProcess) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._bundle, STATUS))
        status = await life.live()
        await self._flush(life, init)
        self._end(status)
        error = life.error
        if error is not None and error.code is ErrorCode.INTERRUPTED:  # for callers that means a helper that is gone
            error = internal(error.describe())
        init.finish(error)

    async def _flush(self, life: Life, init: ContainerProcess) -> None:
        """Let the caller read what the process wrote, however slowly, unless the container was told to stop."""
        if life.relaying is None:
            return
        told = asyncio.ensure_future(self._told_to_stop.wait())
        await asyncio.wait([life.relaying, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        await asyncio.wait([life.relaying], timeout=FLUSH_DEADLINE)
        if not life.relaying.done():
            init.detach()
            await life.relaying

    def _end(self, status: ContainerStatus) -> None:
        """Write down how it ended, then tell."""
        self._timeline.save(self._bundle)
        try:
            atomic.write_json(os.path.join(self._bundle, STATUS), codec.encode(status))
        except ContainerError as error:
            _log.error("%s: %s", self._id, error)
        self._become(Stopped(status))
        self._stopped.set()

    async def exec(
        self, configuration: ProcessConfiguration, streams: Streams, *, wait: bool
    ) -> AsyncGenerator[ProcessEvent, None]:
        """Start a further process; `streams` go over to it. Raises ContainerError(invalidState) unless it runs."""
        try:
            running = self._running()
        except ContainerError:
            streams.close()
            raise
        process = ContainerProcess(os.urandom(16).hex(), streams, terminal=configuration.terminal)
        running.execs[process.id] = process
        self._group.create_task(self._run_exec(running, process, configuration))
        async with contextlib.aclosing(process.events(Progress("Starting process"), wait=wait)) as events:
            async for event in events:
                yield event

    async def _run_exec(self, running: Running, process: ContainerProcess, configuration: ProcessConfiguration) -> None:
        from container.plugins.runtime import guestplan

        streams = process.streams
        error = None
        try:
            await process.start(
                running.guest.start_exec(
                    process.id,
                    guestplan.process(running.launch, configuration),
                    stdin=streams.stdin is not None,
                    stdout=streams.stdout is not None or configuration.terminal,
                    stderr=streams.stderr is not None,
                    size=streams.window(),
                    timeout=self._within(REQUEST_DEADLINE),
                )
            )
            await process.relay()
            await process.exited()
        except ContainerError as caught:
            error = caught
        except Exception:
            _log.exception("%s: process %s failed unexpectedly", self._id, process.id)
            error = unexpected(f"process {process.id} in container {self._id}")
        finally:
            del running.execs[process.id]
            process.finish(error)

    async def copy_in(self, path: str, fd: int, *, members: bool) -> None:
        """Unpack the tar stream that `fd` yields. Raises ContainerError(invalidState) unless it runs."""
        from container.guest.transfer import send

        work = send(self._running().guest, "copy.in", fd, patience=PATIENCE, path=path, into=members)
        await self._transfers.run(work)

    async def copy_out(self, path: str, fd: int, *, attributes: bool) -> None:
        """Write a file or directory to `fd` as a tar stream. Raises ContainerError(invalidState) unless it runs."""
        from container.guest.transfer import receive

        work = receive(self._running().guest, "copy.out", fd, patience=PATIENCE, path=path, attributes=attributes)
        await self._transfers.run(work)

    async def read(self, tree: Tree, fd: int, launch: Launch | None) -> None:
        """Write a tree to `fd`: of the container that runs, or with `launch` of one that does not, and then end."""
        if launch is None:
            await self._transfers.run(read_tree(self._running().guest, tree, fd, freeze=True))
            return
        if not isinstance(self._state, Waiting):
            raise invalid_state(f"container {self._id} was started already")
        reader = self._life = Reader(self._bundle, self._cache, launch)
        self._become(Booting(launch))
        try:
            await reader.run(tree, fd)
        finally:  # the status of the last run stays as it is
            self._become(Stopped(ContainerStatus(ContainerState.STOPPED)))
            self._stopped.set()

    async def signal(self, process: str, number: int) -> None:
        """Send a signal. One that usually ends a process ends a run that is still booting."""
        if isinstance(self._state, Booting) and process == self._id and number in ENDING_SIGNALS:
            self._abort(number, f"signal {number} came while the container was starting")
            return
        await self._process(process).signal(number, timeout=self._within(SIGNAL_DEADLINE))

    async def resize(self, process: str, size: WindowSize) -> None:
        """Set the window size of a process's terminal."""
        await self._process(process).resize(size, timeout=self._within(SIGNAL_DEADLINE))

    async def stop(self, number: int, timeout: float) -> None:
        """Signal, `timeout` seconds, KILL, power off; returns when everything is cleaned up. Stopped: at once.

        A caller that goes does not undo it. A second stop may be quicker than the first.
        """
        self._told_to_stop.set()
        self._transfers.interrupt()
        state = self._state
        if isinstance(state, Waiting):
            self._end(ContainerStatus(ContainerState.STOPPED, reason="the container was never started"))
        elif isinstance(state, Booting):
            self._abort(number, "the container was stopped while it was starting")
        elif isinstance(state, Running | Stopping):
            running = state if isinstance(state, Running) else state.running
            self._become(Stopping(running))
            self._group.create_task(self._bring_down(running, number, timeout))
        await self._stopped.wait()

    async def _bring_down(self, running: Running, number: int, timeout: float) -> None:
        """The ladder; what the guest answers does not matter, only whether the process ends in time."""
        if number != SIGKILL:
            await self._end_by_signal(running.init, number, timeout)
        if running.init.exit_code is None and not self._stopped.is_set():
            await self._end_by_signal(running.init, SIGKILL, KILL_DEADLINE)
        if running.init.exit_code is None and not self._stopped.is_set():
            self._abort(SIGKILL, "the guest did not end when it was told to; its machine was switched off")

    async def _end_by_signal(self, process: ContainerProcess, number: int, timeout: float) -> None:
        """Returns when the process has ended or is lost, or `timeout` seconds later."""
        try:
            async with asyncio.timeout(timeout):
                try:
                    await process.signal(number, timeout=timeout)
                except ContainerError as error:
                    _log.debug("%s: signal %d: %s", self._id, number, error)
                await process.exited()
        except (TimeoutError, ContainerError):
            pass

    def _abort(self, number: int, reason: str) -> None:
        assert self._life is not None
        self._life.abort(128 + number, reason)

    def status(self) -> ContainerStatus:
        """The container as it is now."""
        return status_of(self._state)

    async def watch(self) -> AsyncGenerator[ContainerStatus, None]:
        """The status now, and the latest one after each change, until `stopped`."""
        while True:
            state, changed = self._state, self._changed
            yield status_of(state)
            if isinstance(state, Stopped):
                return
            await changed.wait()

    def _become(self, state: State) -> None:
        if isinstance(self._state, Stopping) and isinstance(state, Running | Stopping):
            return  # told to stop already
        _log.debug("%s: %s -> %s", self._id, type(self._state).__name__, type(state).__name__)
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()

    def _running(self) -> Running:
        if isinstance(self._state, Running):
            return self._state
        raise invalid_state(f"container {self._id} is not running; `container start {self._id}` starts it")

    def _process(self, id: str) -> ContainerProcess:
        state = self._state.running if isinstance(self._state, Stopping) else self._state
        if not isinstance(state, Running):
            raise invalid_state(f"container {self._id} is not running; `container start {self._id}` starts it")
        if id == self._id:
            return state.init
        if id not in state.execs:
            raise not_found(f"container {self._id} has no process {id}")
        return state.execs[id]

    def _within(self, seconds: float) -> float:
        """A deadline for work in the guest, at the speed of its accelerator."""
        return seconds * (self._life.speed if self._life else 1.0)
