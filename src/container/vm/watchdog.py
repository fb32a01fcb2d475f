"""Tells a machine whose start goes on from one that hangs.

A start that goes on shows it: bytes on the agent's channel, lines on the console, requests to the disks. One that has
shown nothing for a while hangs when it has meanwhile used several times the processor time that a whole start of its
shape usually takes (`vm.pace`), or when the while is long, less what QEMU waited for a processor. For on a busy host
everything takes longer but the processor time, while a guest that hangs usually spins.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from operator import sub
from typing import NamedTuple

from container.errors import ContainerError, ErrorCode
from container.vm.qemu import HALTED, VirtualMachine

MULTIPLE = 3.0  # of the processor time of a usual start
UNKNOWN = 6.0  # seconds of processor time that a start is taken to need where none was measured yet
SHORTEST = 5.0  # seconds of silence that every start may have
LONGEST_RESTORED, LONGEST_BOOTED = 20.0, 40.0  # and those that none may have, with a processor at hand
_PAUSE = 1.0


class Stalled(ContainerError):
    """A start that makes no progress any more."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TIMEOUT, message)


class Silence(NamedTuple):
    """Seconds in which a guest showed nothing; in which QEMU's threads used processors, and waited for one."""

    lasted: float
    used: float
    waited: float


class Watchdog:
    """Watches the start of one machine. `heard` counts the bytes that came from its agent; None: it owes no answer now.

    `longest` is the silence in seconds after which the start hangs whatever it used, three times that if it waited.
    """

    def __init__(self, vm: VirtualMachine, usual: float | None, *, restored: bool) -> None:
        """`usual`: processor seconds of such a start, None when not known."""
        self.heard: Callable[[], int | None] = lambda: 0
        self.longest = LONGEST_RESTORED if restored else LONGEST_BOOTED
        self._vm = vm
        self._usual = UNKNOWN if usual is None else usual
        self._scope = asyncio.timeout(None)
        self._reason = ""
        self._task: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> "asyncio.Task[None]":
        """Begin to watch, for `over`; `group` runs it."""
        self._task = group.create_task(self._watch())
        return self._task

    def stop(self) -> None:
        """The start is over."""
        if self._task is not None:
            self._task.cancel()

    async def over(self, work: Awaitable[None]) -> None:
        """Await `work`, which the machine's start is part of. Raises Stalled when that hangs."""
        try:
            async with self._scope:
                await work
        except TimeoutError as error:
            if not self._scope.expired():
                raise
            raise Stalled(self._reason) from error
        finally:
            self.stop()

    async def _watch(self) -> None:
        self._reason = await self._stalled()
        self._scope.reschedule(asyncio.get_running_loop().time())

    async def _stalled(self) -> str:
        """Returns when the start hangs, with what was seen of it."""
        seen, since = self._seen(), self._now()
        asked: tuple[str, int] | None = None
        while True:
            await asyncio.sleep(_PAUSE)
            now, silence = self._seen(), Silence(*map(sub, self._now(), since))
            if now == seen and now[0] is not None:
                if asked is None and silence.lasted > SHORTEST / 2:
                    asked = await self._vm.activity()
                if asked is None or not self._is_too_long(silence):
                    continue
                answer = await self._vm.activity()
                if answer == asked and answer[0] not in HALTED:
                    return self._account(silence)
            seen, since, asked = now, self._now(), None

    def _now(self) -> tuple[float, float, float]:
        return asyncio.get_running_loop().time(), *self._vm.processor_time()

    def _is_too_long(self, silence: Silence) -> bool:
        if silence.used > MULTIPLE * self._usual:
            return silence.lasted > SHORTEST
        return silence.lasted - silence.waited > self.longest or silence.lasted > 3 * self.longest

    def _account(self, silence: Silence) -> str:
        seen = f"nothing came from its guest for {silence.lasted:.0f} s"
        used = f"in which QEMU used {silence.used:.1f} s of processor time"
        return f"the virtual machine hung while it started: {seen}, {used}{self._vm.evidence()}"

    def _seen(self) -> tuple[int | None, int]:
        """What costs nothing to look at: bytes from the agent and on the console."""
        console = 0
        with contextlib.suppress(OSError):
            console = os.stat(self._vm.boot_log).st_size
        return self.heard(), console
