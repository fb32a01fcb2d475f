"""The children of the supervisor: who ended, and what is left of their process groups and orphans."""

import asyncio
import contextlib
import os
import signal
from types import TracebackType
from typing import Self


class Reaper:
    """Waits for every child, by SIGCHLD, inside `with`. The supervisor is a subreaper, so orphans are children too."""

    def __init__(self) -> None:
        self._watched: dict[int, asyncio.Future[int]] = {}
        self._reaped = asyncio.Event()

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def watch(self, pid: int) -> "asyncio.Future[int]":
        """The future exit code (waitstatus_to_exitcode) of a child just spawned, which leads a process group.

        When it ends, what is left of its group is killed: the pid cannot be anyone else's before it is reaped.
        """
        ended = asyncio.get_running_loop().create_future()
        self._watched[pid] = ended
        return ended

    def _reap(self) -> None:
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if info is None:
                break
            ended = self._watched.pop(info.si_pid, None)
            if ended is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(info.si_pid, signal.SIGKILL)
            _, status = os.waitpid(info.si_pid, 0)
            if ended is not None and not ended.done():
                ended.set_result(os.waitstatus_to_exitcode(status))
        self._reaped.set()

    async def end_children(self, grace: float) -> None:
        """End every child that is left, orphans of jobs above all: TERM, `grace` seconds for all, KILL."""
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, grace)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._signal_until_gone(number)
                    return

    async def _signal_until_gone(self, number: int) -> None:
        signalled: set[int] = set()
        while children := _children():
            for pid in children - signalled:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            signalled |= children
            self._reaped.clear()
            await self._reaped.wait()


def _children() -> set[int]:
    pid = os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return {int(word) for word in file.read().split()}
