"""The kernel's messages in the boot log.

A kernel that writes each of its messages to the emulated serial port boots a third slower, so the console gets only
warnings and panics, as they come. The rest is fetched from the kernel's buffer over the agent's channel when the
container has had a moment to start, and goes behind what is in the file; what the console says later comes after it.
"""

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from container.errors import ContainerError

if TYPE_CHECKING:
    from container.guest.client import GuestClient

DELAY = 0.15  # seconds after the process's start: reading the messages takes an emulated CPU 10 ms
_LEVEL = re.compile(r"^<\d+>", re.MULTILINE)
_log = logging.getLogger(__name__)


class KernelLog:
    """Fetches once, inside `with collected`."""

    def __init__(self, guest: "GuestClient", path: str, timeout: float) -> None:
        """`path` is the boot log, which QEMU appends to; `timeout` in seconds."""
        self._guest, self._path, self._timeout = guest, path, timeout
        self._now = asyncio.Event()
        self._over = asyncio.Event()

    @contextlib.contextmanager
    def collected(self, group: asyncio.TaskGroup) -> Iterator[None]:
        """Fetch a moment from now, in a task of the group, unless the context is left before."""
        task = group.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()

    async def complete(self) -> None:
        """Fetch now, if that is still to be done: the end is near."""
        self._now.set()
        await self._over.wait()

    async def _run(self) -> None:
        """A failure is logged: nothing depends on it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._now.wait(), DELAY)
        try:
            _append(self._path, await self._guest.kernel_log(timeout=self._timeout))
        except (ContainerError, OSError) as error:
            _log.warning("cannot complete the boot log %s: %s", self._path, error)
        finally:
            self._over.set()


def _append(path: str, messages: str) -> None:
    """One write(2) in append mode: what QEMU writes meanwhile stands before or behind it."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(fd, _LEVEL.sub("", messages).encode(errors="replace"))
    finally:
        os.close(fd)
