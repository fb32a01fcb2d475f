"""Processes by descriptor (pidfd_open(2)): a pid that was reused is never signalled, an exit is an event."""

import asyncio
import contextlib
import os
import signal


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), stat field 22): with its pid, a unique name.

    None when there is no such process, or only its zombie.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def open_process(pid: int, started: int) -> int | None:
    """A pidfd of the process that has this pid and start time, None when it is gone. The caller closes it."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if start_time(pid) == started:
        return fd
    os.close(fd)
    return None


async def wait_ended(pidfd: int) -> None:
    """Wait until the process has ended; a child is a zombie then and wants to be reaped."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)


async def end_process(pidfd: int, grace: float) -> None:
    """TERM, `grace` seconds, KILL; returns when the process has ended."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await wait_ended(pidfd)
        except TimeoutError:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await wait_ended(pidfd)
