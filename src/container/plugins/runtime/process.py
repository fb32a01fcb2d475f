"""One process in the guest, from being asked for to its exit: init process or exec, with its caller or without."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING

from container.errors import ContainerError, ErrorCode, internal, invalid_state
from container.model.event import ProcessEvent, Progress
from container.model.process import WindowSize
from container.plugins.runtime.stdio import Streams

if TYPE_CHECKING:
    from container.guest.process import GuestProcess
    from container.guest.streams import Relay, Tee

READY_TIMEOUT = 5.0  # seconds for a caller to make its terminal ready for an error

_log = logging.getLogger(__name__)


class ContainerProcess:
    """Milestones: `begun` (it runs, or never will), `exited()` (it ended and its output has left the guest), `over`
    (its output has reached the caller, and the caller may be told).

    `exit_code` and `error` are final when `over` is set; with both, the process could not be executed (126, 127) or was
    ended before it began.
    """

    def __init__(
        self, id: str, streams: Streams, *, terminal: bool, unwanted: Callable[[], None] | None = None
    ) -> None:
        """`streams` go over to the process. `unwanted`: the caller closed its attachment before the process began."""
        self.id = id
        self.terminal = terminal
        self.streams = streams
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self._announced = asyncio.Event()
        self.exit_code: int | None = None
        self.error: ContainerError | None = None
        self._guest: GuestProcess | None = None
        self._relay: Relay | None = None
        self._unwanted = unwanted
        if streams.attachment is not None:
            streams.attachment.watch(self._left)

    async def start(self, starting: "Awaitable[GuestProcess]", tee: "Tee | None" = None) -> None:
        """Await the agent's answer to a start request; `tee` is to get the output too.

        Raises its GuestError, told to the caller's user first.
        """
        from container.guest.streams import Relay

        attachment = self.streams.attachment
        if attachment is not None:  # meanwhile
            attachment.tell(ProcessEvent(ready=True))
        self._announced.set()
        try:
            guest = await starting
        except ContainerError as error:
            self.exit_code = getattr(error, "exit_code", None)
            if self.exit_code is not None:
                await self._caller_ready()
                self.streams.complain(error.describe(), terminal=self.terminal)
            raise
        streams = self.streams
        if streams.stdin is None and guest.stdin is not None and not self.terminal:
            await guest.stdin.write_eof()  # its caller has gone meanwhile
        self._guest = guest
        ready = None if attachment is None else attachment.ready
        self._relay = Relay(
            guest, stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr, tee=tee, ready=ready
        )
        self.begun.set()
        if streams.attachment is not None:
            streams.attachment.tell(self._started())

    async def _caller_ready(self) -> None:
        if self.streams.attachment is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_TIMEOUT):
                    await self.streams.attachment.ready.wait()

    async def relay(self) -> None:
        """Move the streams until the process has ended and its output has reached the caller."""
        assert self._relay is not None
        try:
            await self._relay.run()
        except ContainerError as error:
            _log.debug("%s: %s", self.id, error)  # `exited` raises it

    async def exited(self) -> int:
        """Wait until the process has ended and its output has left the guest; its exit code.

        Raises ContainerError(interrupted) when the guest went first.
        """
        guest, relay = self._running()
        await relay.drained.wait()
        self.exit_code = await guest.wait()
        return self.exit_code

    def detach(self) -> None:
        """The caller has gone: its descriptors are let go, the process's input ends, the process goes on."""
        if not self.over.is_set():
            _log.debug("%s: its caller has gone", self.id)
        if self._relay is not None:
            self._relay.detach()
        self.streams.close()

    def _left(self) -> None:
        self.detach()
        if self._unwanted is not None and not self.begun.is_set():
            self._unwanted()

    def finish(self, error: ContainerError | None = None) -> None:
        """Tell the callers; nothing changes after that."""
        if self.exit_code is None and error is None:
            error = internal(f"process {self.id} ended, and its exit code is not known")
        self.error = error
        if self.streams.attachment is not None:
            if self.exit_code is not None:
                self.streams.attachment.tell(self._ended())
            self.streams.attachment.end(None if self.exit_code is not None else error)
        self.streams.close()
        for event in (self._announced, self.begun, self.over):
            event.set()

    async def signal(self, number: int, *, timeout: float | None = None) -> None:
        """Send a Linux signal number. Raises ContainerError(invalidState) when it does not run."""
        guest, _ = self._running()
        await guest.signal(number, timeout=timeout)

    async def resize(self, size: WindowSize, *, timeout: float | None = None) -> None:
        """Set the window size. Raises ContainerError(invalidState) when it does not run, or without a terminal."""
        guest, _ = self._running()
        if not self.terminal:
            raise invalid_state(f"process {self.id} has no terminal")
        await guest.resize(size, timeout=timeout)

    @property
    def oom_killed(self) -> bool:
        """Whether the guest's out-of-memory killer struck."""
        return self._guest is not None and self._guest.oom_killed

    def _running(self) -> "tuple[GuestProcess, Relay]":
        if self._guest is None or self._relay is None or self.over.is_set():
            raise invalid_state(f"process {self.id} is not running")
        return self._guest, self._relay

    async def events(self, first: Progress, *, wait: bool) -> AsyncGenerator[ProcessEvent, None]:
        """What the caller of Start or Exec hears. One that goes before the last event detaches, unless it is attached.

        Raises why the process did not run or how it got lost.
        """
        complete = False
        try:
            yield ProcessEvent(progress=first)
            await self._announced.wait()
            if self.streams.attachment is not None and not self.begun.is_set():
                yield ProcessEvent(ready=True)
            await self.begun.wait()
            if self._guest is not None:
                yield self._started()
            if wait or self._guest is None:
                await self.over.wait()
                if self.exit_code is None or (self.error is not None and not wait):
                    raise self.error or ContainerError(ErrorCode.UNKNOWN, f"process {self.id} was lost")
                yield self._ended()
            complete = True
        finally:
            if not complete and self.streams.attachment is None:
                self.detach()

    def _started(self) -> ProcessEvent:
        return ProcessEvent(started=True, process=self.id)

    def _ended(self) -> ProcessEvent:
        told = self.error is None or self._guest is None  # one that did not begin: told by `start`
        return ProcessEvent(exit_code=self.exit_code, reason=None if told else str(self.error))
