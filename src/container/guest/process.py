"""A process in the guest, as the host sees it, and how the agent's failures look."""

import asyncio
from typing import TYPE_CHECKING, Any

from container.errors import ContainerError, ErrorCode
from container.guest.mux import Stream
from container.model import codec
from container.model.process import WindowSize

if TYPE_CHECKING:
    from container.guest.client import GuestClient


class GuestError(ContainerError):
    """A failure that the agent reports. `errno` is the guest's; `exit_code` 126 or 127: the program cannot be run."""

    def __init__(self, code: ErrorCode, message: str, errno: int = 0, exit_code: int | None = None) -> None:
        super().__init__(code, message)
        self.errno = errno
        self.exit_code = exit_code


class GuestProcess:
    """A started process. `stdout` and `stderr` must be read (see `streams.relay`), or the process stalls.

    A stream is None when it was not asked for; `stderr` also with a terminal. `pid` is as the agent sees it.
    """

    def __init__(self, client: "GuestClient", process_id: str, terminal: bool, streams: dict[str, Stream]) -> None:
        self.id = process_id
        self.pid = 0
        self.terminal = terminal
        self.stdin = streams.get("stdin")
        self.stdout = streams.get("stdout")
        self.stderr = streams.get("stderr")
        self.oom_killed = False  # the guest's out-of-memory killer struck in the container; valid after `wait`
        self._client = client
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Exit code (128+n for signal n) as soon as the process ended; its output may still be on the way.

        ContainerError(INTERRUPTED): the channel ended first.
        """
        return await asyncio.shield(self._exit)

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while the process runs (or was lost)."""
        done = self._exit.done() and not self._exit.cancelled() and self._exit.exception() is None
        return self._exit.result() if done else None

    async def signal(self, number: int, *, timeout: float | None = None, default_action: bool = False) -> None:
        """Send a Linux signal number. The process is over: GuestError(NOT_FOUND).

        With `default_action` one that ends a process by default also ends the first one of a container, which the
        kernel spares that.
        """
        options = {"defaultAction": True} if default_action else {}
        await self._client._call("process.signal", timeout, id=self.id, signal=number, **options)

    async def resize(self, size: WindowSize, *, timeout: float | None = None) -> None:
        """Set the terminal's window size."""
        await self._client._call("process.resize", timeout, id=self.id, size=codec.encode(size))

    def _ended(self, event: dict[str, Any]) -> None:
        self.oom_killed = bool(event.get("oomKilled"))
        if not self._exit.done():
            self._exit.set_result(int(event.get("code", 255)))

    def _lost(self, error: ContainerError) -> None:
        if not self._exit.done():
            self._exit.set_exception(error)
            self._exit.exception()  # seen: nobody may be waiting

    def _forget(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
