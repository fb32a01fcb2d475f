"""Keeps a network's uplink up: starts it, notices its end, starts it again; tells who waits for it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from container.errors import ContainerError
from container.log import fields
from container.plugins.network.uplink import Uplink

_log = logging.getLogger(__name__)
DELAY_FIRST, DELAY_LAST = 0.2, 5.0  # seconds between two attempts


class UplinkKeeper:
    """Runs `start` until it works, and again when the uplink has ended."""

    def __init__(self, network: str, uplink: Uplink, start: Callable[[], Awaitable[None]]) -> None:
        self._network = network
        self._uplink = uplink
        self._start = start
        self._settled = asyncio.Event()  # the last attempt has an outcome: `_error` says which
        self._error: ContainerError | None = None
        self._wanted = asyncio.Event()

    async def up(self) -> None:
        """Return when the uplink is up. After a failed attempt another one is made first; raises why it fails."""
        if self._error is not None:
            self._settled.clear()
            self._wanted.set()
        await self._settled.wait()
        if self._error is not None:
            raise self._error

    async def keep(self, adopted: bool) -> None:
        """Run until cancelled; `adopted`: it is up already."""
        delay = DELAY_FIRST
        while True:
            if not adopted:
                self._error = await self._attempt()
            self._settled.set()
            if self._error is not None:
                _log.error("no uplink: %s", self._error, extra=fields(network=self._network))
                await self._pause(delay)
                delay = min(2 * delay, DELAY_LAST)
                continue
            adopted, delay = False, DELAY_FIRST
            await self._uplink.wait()
            self._settled.clear()
            _log.warning("the uplink ended; starting it again", extra=fields(network=self._network))

    async def _attempt(self) -> ContainerError | None:
        self._wanted.clear()
        try:
            await self._start()
        except ContainerError as error:
            return error
        return None

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
