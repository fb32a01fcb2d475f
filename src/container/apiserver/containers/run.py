"""One run of a container: from its runtime job's registration until nothing is left but how it ended.

    starting ─ `started` from the helper ─► running ─ Watch says `stopped`, or the helper is gone ─► stopped ─► settled
        └──────── boot failure, or abandoned by `stop` ────────────────────────────────────────────────┘

A run belongs to the API server's background tasks, never to a call: callers come and go, the run goes on. When the API
server ends, its tasks are cancelled and the helper is left alone; `adopt=True` takes up a run that is under way.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from container.apiserver.background import Background
from container.apiserver.containers.helper import RuntimeHelper
from container.apiserver.containers.starts import Starts
from container.apiserver.containers.streams import Streams
from container.errors import ContainerError, ErrorCode, internal, invalid_state
from container.model.container import ContainerState, ContainerStatus
from container.model.event import ProcessEvent
from container.model.launch import Launch

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 30.0  # seconds in which a fresh helper must say something
REPORT_TIMEOUT = 2.0  # seconds by which Watch may lag behind `started`
LAST_WORD_TIMEOUT = 1.0  # seconds for the boot error of a helper that just went away
CRASHED = "the runtime helper ended unexpectedly; `container system logs` may say why"

Prepare = Callable[[], Awaitable[Launch]]
Outcome = Callable[[], ContainerStatus | None]


class Run:
    """`status` is what users see, the events say how far it is. `start` or `adopt` runs once, in the background."""

    def __init__(self, id: str, helper: RuntimeHelper, tasks: Background, outcome: Outcome, starts: Starts) -> None:
        """`outcome` reads what the helper wrote down about the end, if it did."""
        self.id = id
        self.helper = helper
        self.status = ContainerStatus(ContainerState.STOPPED)
        self.seen = asyncio.Event()  # the helper answered, or never will
        self.booted = asyncio.Event()  # the init process runs, or never will: `running` says which
        self.running = False
        self._refused: int | None = None  # exit code of an init process that could not be executed: 126, 127
        self.stopped = asyncio.Event()  # `status` is final
        self.settled = asyncio.Event()  # nothing is left: set by the owner of the run
        self.failure: ContainerError | None = None  # why it never ran
        self._tasks = tasks
        self._outcome = outcome
        self._starts = starts
        self._repeated = False
        self._events: asyncio.Queue[ProcessEvent | None] = asyncio.Queue()
        self._attendance: asyncio.Task[None] | None = None
        self._relay: asyncio.Task[None] | None = None
        self._detached = False
        self._abandoned: str | None = None
        self._loss: ContainerError | None = None
        self._last: ContainerStatus | None = None
        self._reported = asyncio.Event()  # Watch has said how it is after the boot, or has ended

    async def start(self, prepare: Prepare, streams: Streams, wait: bool) -> None:
        """Boot, attend, clean up. `streams` are closed here. `prepare` decides the rest while the helper comes up."""
        self._starts.total += 1
        try:
            await self._live(lambda: self._boot(prepare, streams, wait))
        finally:
            streams.close()

    async def adopt(self) -> None:
        """Attend a run that an earlier API server began, then clean up."""
        await self._live(self._attend)

    def tell(self, event: ProcessEvent) -> None:
        """Have `boot_events` yield an event more."""
        self._events.put_nowait(event)

    async def boot_events(self) -> AsyncIterator[ProcessEvent]:
        """Progress and `started`, for one caller; raises as `wait_booted`."""
        while (event := await self._events.get()) is not None:
            yield event
        await self.wait_booted()

    async def wait_booted(self) -> None:
        """Returns when the init process runs, or has an exit code without having run (126, 127: told to the caller).

        Raises what else kept it from running (ContainerError), when it is cleaned up.
        """
        await self.booted.wait()
        if not self.running and self._refused is None:
            await self.settled.wait()
            raise self.failure or internal(
                f"container {self.id} did not start, and the reason is not known; see `container logs --boot {self.id}`"
            )

    async def exit_event(self) -> ProcessEvent:
        """How the run ended, when it has and its output is delivered. Raises ContainerError without an exit code."""
        await self.stopped.wait()
        if self._relay is not None:
            await asyncio.wait([self._relay])
        reason = self.status.reason
        if self.status.exit_code is None:
            raise internal(f"container {self.id} ended without an exit code: {reason or 'no reason known'}")
        # Why it never ran was told on its standard error.
        return ProcessEvent(exit_code=self.status.exit_code, reason=reason if self.running else None)

    def detach(self) -> None:
        """The caller is gone: its streams are let go as soon as the process runs."""
        self._detached = True
        if self.running and self._relay is not None:
            self._relay.cancel()

    def abandon(self, reason: str) -> None:
        """End the run by force: the helper is stopped as a process, and the VM with it."""
        if self._abandoned is None and not self.stopped.is_set():
            self._abandoned = reason
        if self._attendance is not None:
            self._attendance.cancel()

    async def _live(self, work: Callable[[], Awaitable[None]]) -> None:
        self._attendance = self._tasks.start(self._guard(work), f"the run of {self.id}")
        await asyncio.wait([self._attendance])
        await self._conclude()
        try:
            await self.helper.deregister()
        except ContainerError as error:
            _log.error("cannot remove the runtime job of %s: %s", self.id, error.describe())

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        if self._abandoned is not None:
            return
        try:
            await work()
        except ContainerError as error:
            self._loss = error

    async def _boot(self, prepare: Prepare, streams: Streams, wait: bool) -> None:
        await self.helper.register()
        await self._attend(prepare, streams, wait)

    async def _attend(self, prepare: Prepare | None = None, streams: Streams | None = None, wait: bool = False) -> None:
        """Follow the helper's status until `stopped`; with `prepare` start the container as soon as it answers."""
        async with self.helper.watch() as statuses:
            launch = None if prepare is None else await prepare()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    self._observe(await anext(statuses))
            except (StopAsyncIteration, TimeoutError):
                text = f"the runtime helper of {self.id} does not answer"
                raise ContainerError(ErrorCode.TIMEOUT, text) from None
            if launch is not None:
                relay = self._forward(launch, streams or Streams(), wait)
                self._relay = self._tasks.start(relay, f"the start of {self.id}")
            try:
                async for status in statuses:
                    self._observe(status)
            finally:
                self._reported.set()
        if self._relay is not None:
            await asyncio.wait([self._relay])

    async def _forward(self, launch: Launch, streams: Streams, wait: bool) -> None:
        """Pass on what `Runtime.Start` reports; its exit code is that of the final status."""
        try:
            async with self.helper.start(launch, streams, wait) as events:
                async for event in events:
                    streams.close()
                    if event.exit_code is not None:
                        self._refused = None if self.running else event.exit_code
                        continue
                    if event.started:
                        await self._mark_running()
                        event = replace(event, process=self.id)
                    self._events.put_nowait(event)
                    if event.started:
                        self._events.put_nowait(None)
                        if self._detached:
                            return
        except ContainerError as error:
            if not self.running:
                self.failure = error
        finally:
            if not self.running and self._refused is None and self._attendance is not None:
                self._attendance.cancel()

    async def _mark_running(self) -> None:
        """Once Watch has told address and date, so that who is told `started` can look them up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPORT_TIMEOUT):
                await self._reported.wait()
        self.running = True
        self.booted.set()

    def _observe(self, status: ContainerStatus) -> None:
        self.seen.set()
        if status.start_attempt is not None and not self._repeated:
            self._repeated = True
            self._starts.repeated += 1
        if status.state is ContainerState.STOPPED:
            self._last = status
            if self.running:
                self._finish(status)
        elif status.state is not ContainerState.UNKNOWN:
            self.status = status
            self._reported.set()
            if self._relay is None:
                self.running = True
                self.booted.set()

    def _finish(self, last: ContainerStatus) -> None:
        started = last.started_date or self.status.started_date
        self.status = replace(last, state=ContainerState.STOPPED, networks=[], started_date=started)
        self.stopped.set()

    async def _conclude(self) -> None:
        """Make `status` final and wake everybody up."""
        if self._relay is not None and not self._relay.done():
            if self._abandoned is None:
                await asyncio.wait([self._relay], timeout=LAST_WORD_TIMEOUT)
            self._relay.cancel()
        if self.running and not self.stopped.is_set():
            known = None if self._abandoned else self._last or self._outcome()
            self._finish(known or _stopped(self._abandoned or CRASHED))
        elif self._refused is not None and self._abandoned is None:
            self._finish(self._last or ContainerStatus(ContainerState.STOPPED, exit_code=self._refused))
        elif not self.running:
            self.failure = self._boot_failure()
            self._finish(_stopped(self.failure.describe()))
        for event in (self.seen, self.booted):
            event.set()
        self._events.put_nowait(None)

    def _boot_failure(self) -> ContainerError:
        cause = self.failure or self._loss
        if self._abandoned is not None:
            cause = invalid_state(self._abandoned)
        elif cause is None or cause.code is ErrorCode.INTERRUPTED:
            cause = internal(CRASHED)
        return ContainerError(cause.code, f"failed to bootstrap container {self.id}", cause)


def _stopped(reason: str) -> ContainerStatus:
    return ContainerStatus(ContainerState.STOPPED, reason=reason)
