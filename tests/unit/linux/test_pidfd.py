"""Processes by descriptor."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from container.linux import pidfd


async def test_a_process_is_found_by_pid_and_start_time_only() -> None:
    child = await asyncio.create_subprocess_exec("sleep", "100")
    started = pidfd.start_time(child.pid)
    assert started is not None
    assert pidfd.open_process(child.pid, started + 1) is None
    fd = pidfd.open_process(child.pid, started)
    assert fd is not None
    await pidfd.end_process(fd, grace=5)
    assert await child.wait() == -signal.SIGTERM
    assert pidfd.open_process(child.pid, started) is None
    assert pidfd.start_time(child.pid) is None
    os.close(fd)


async def test_a_process_that_does_not_heed_term_is_killed() -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    fd = os.pidfd_open(child.pid)
    begin = time.monotonic()
    await pidfd.end_process(fd, grace=0.2)
    assert 0.2 <= time.monotonic() - begin < 5
    assert await child.wait() == -signal.SIGKILL
    os.close(fd)


@pytest.mark.parametrize("pid", [0, 2**22 + 1])
def test_there_is_no_start_time_without_a_process(pid: int) -> None:
    assert pidfd.start_time(pid) is None
