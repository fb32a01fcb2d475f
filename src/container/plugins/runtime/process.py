"""One process in the guest, from being asked for to its exit: init process or exec, with its caller or without."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable
from typing import TYPE_CHECKING, Any

from container.errors import ContainerError, ErrorCode, invalid_state
from container.model.event import ProcessEvent, Progress
from container.model.process import WindowSize
from container.plugins.runtime.stdio import Streams

if TYPE_CHECKING:
    from container.guest.client import GuestProcess
    from container.guest.streams import Tee

_log = logging.getLogger(__name__)


class ContainerProcess:
    """Milestones: `begun` (it runs, or never will), `ended` (exited and drained), `over` (told to callers).

    `exit_code` and `error` are final when `over` is set; with both, the process could not be executed (126, 127).
    """

    def __init__(self, id: str, streams: Streams, *, terminal: bool) -> None:
        """`streams` go over to the process."""
        self.id = id
        self.terminal = terminal
        self.streams = streams
        self.begun, self.ended, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.exit_code: int | None = None
        self.error: ContainerError | None = None
        self._guest: GuestProcess | None = None
        self._detached = asyncio.Event()

    async def start(self, starting: "Awaitable[GuestProcess]") -> None:
        """Await the agent's answer to a start request. Raises its GuestError, told to the caller's user first."""
        try:
            self._guest = await starting
        except ContainerError as error:
            self.exit_code = getattr(error, "exit_code", None)
            if self.exit_code is not None:
                self.streams.complain(error.describe(), terminal=self.terminal)
            raise
        self.begun.set()

    async def relay(self, tee: "Tee | None" = None) -> int:
        """Move the streams until the process has ended and its output is drained; its exit code.

        Once the caller has gone, output goes to `tee` only.
        """
        from container.guest.streams import relay

        guest = self._running()
        try:
            while True:
                streams = self.streams
                moving = asyncio.ensure_future(
                    relay(guest, stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr, tee=tee)
                )
                if await _unless(self._detached, moving):
                    self.exit_code = moving.result()
                    return self.exit_code
                await self._let_go(guest)
        finally:
            self.streams.close()
            self.ended.set()

    async def _let_go(self, guest: "GuestProcess") -> None:
        """The caller hung up: drop its descriptors, end the process's input. A terminal has no end of input."""
        self._detached.clear()
        self.streams.close()
        if guest.stdin is not None and not self.terminal:
            with contextlib.suppress(ContainerError):
                await guest.stdin.write_eof()

    def detach(self) -> None:
        """The caller has gone; the process goes on without it."""
        if not self.ended.is_set():
            _log.debug("%s: its caller has gone", self.id)
            self._detached.set()

    def finish(self, error: ContainerError | None = None) -> None:
        """Tell the callers; nothing changes after that."""
        if self.exit_code is None and error is None:
            error = ContainerError(ErrorCode.INTERNAL, f"process {self.id} ended, nobody knows how")
        self.error = error
        self.streams.close()
        for milestone in (self.begun, self.ended, self.over):
            milestone.set()

    async def signal(self, number: int, *, timeout: float | None = None) -> None:
        """Send a Linux signal number. Raises ContainerError(invalidState) when it does not run."""
        await self._running().signal(number, timeout=timeout)

    async def resize(self, size: WindowSize) -> None:
        """Set the window size. Raises ContainerError(invalidState) when it does not run, or without a terminal."""
        guest = self._running()
        if not self.terminal:
            raise invalid_state(f"process {self.id} has no terminal")
        await guest.resize(size)

    @property
    def oom_killed(self) -> bool:
        """Whether the guest's out-of-memory killer struck."""
        return self._guest is not None and self._guest.oom_killed

    def _running(self) -> "GuestProcess":
        if self._guest is None or self.ended.is_set():
            raise invalid_state(f"process {self.id} is not running")
        return self._guest

    async def events(self, first: Progress, *, wait: bool) -> AsyncGenerator[ProcessEvent, None]:
        """What the caller of Start or Exec hears. One that goes before the last event detaches.

        Raises why the process did not run or how it got lost.
        """
        complete = False
        try:
            yield ProcessEvent(progress=first)
            await self.begun.wait()
            if self._guest is not None:
                yield ProcessEvent(started=True, process=self.id)
            if wait or self._guest is None:
                await self.over.wait()
                if self.exit_code is None or (self.error is not None and not wait):
                    assert self.error is not None
                    raise self.error
                yield ProcessEvent(exit_code=self.exit_code)
            complete = True
        finally:
            if not complete:
                self.detach()


async def _unless(event: asyncio.Event, moving: "asyncio.Future[int]") -> bool:
    """Wait for `moving` or `event`; whether `moving` came first. When not, it is cancelled and over."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        both: list[asyncio.Future[Any]] = [moving, waiting]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return moving.done()
    finally:
        for task in (waiting, moving):
            task.cancel()
        await asyncio.gather(waiting, moving, return_exceptions=True)
