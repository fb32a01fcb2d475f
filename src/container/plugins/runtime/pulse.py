"""Whether the guest of a container that runs still answers.

The agent is asked now and then, when nothing else came from it. One that does not answer for long is called
unresponsive, until something comes. Time in which its machine is halted does not count (the host's disk is full, say),
nor does time in which this process was not running either (the host was suspended, or stopped all of it).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from container.errors import ContainerError
from container.plugins.runtime.states import now
from container.vm.qemu import HALTED, VirtualMachine

if TYPE_CHECKING:
    from container.guest.client import GuestClient

INTERVAL = 20.0  # seconds between two looks: an answer costs an emulated guest a few milliseconds
PATIENCE = 6.0  # seconds for the answer, times the accelerator's `speed`
_STEP = 1.0

_log = logging.getLogger(__name__)


async def watch(guest: "GuestClient", vm: VirtualMachine, speed: float, tell: Callable[[str | None], None]) -> None:
    """Call `tell` with the time (ISO 8601) from which on the guest has not answered, and with None when it does again.

    Returns when the channel to the guest has ended.
    """
    while True:
        heard = guest.received
        await asyncio.sleep(INTERVAL)
        if guest.received != heard:
            continue
        since = now()
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(_answered(guest))
            if not await _within(answer, PATIENCE * speed, vm):
                _log.warning("%s does not answer any more", vm.name)
                tell(since)
                await asyncio.wait([answer])
                _log.warning("%s answers again", vm.name)
                tell(None)
        if not answer.result():
            return


async def _answered(guest: "GuestClient") -> bool:
    """Ask, however long the answer takes; whether there is one."""
    with contextlib.suppress(ContainerError):
        await guest.ping(timeout=float("inf"))
        return True
    return False


async def _within(answer: "asyncio.Task[bool]", seconds: float, vm: VirtualMachine) -> bool:
    """Whether the answer, or the end of the channel, came within `seconds` in which it could have."""
    while True:
        for _ in range(round(seconds / _STEP)):  # one step of a time in which we did not run either
            await asyncio.wait([answer], timeout=_STEP)
            if answer.done():
                return True
        if (await vm.activity())[0] not in HALTED:
            return answer.done()
