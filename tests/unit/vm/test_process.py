"""Children: watched, ended, and gone when we are."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from container.errors import ContainerError, ErrorCode
from container.vm.process import MESSAGES_MAX, Child


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_exit_status_and_messages_are_kept_after_close() -> None:
    child = Child.start(["sh", "-c", "echo said; echo complained >&2; exit 3"], [])
    assert await child.wait() == 3
    await child.close()
    assert child.messages().splitlines() == ["said", "complained"]


async def test_close_ends_what_ignores_sigterm() -> None:
    read, write = os.pipe()
    child = Child.start(["sh", "-c", f"trap '' TERM; echo > /proc/self/fd/{write}; exec sleep 60"], [write])
    os.close(write)
    await asyncio.to_thread(os.read, read, 1)  # the trap is set
    os.close(read)
    child.send(signal.SIGTERM)
    assert await child.wait(0.2) is None
    await child.close()
    assert child.ended.result() == -signal.SIGKILL
    assert not alive(child.pid)


async def test_close_is_complete_when_cancelled() -> None:
    child = Child.start(["sleep", "60"], [])
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await child.close()
    assert not alive(child.pid)


async def test_descriptors_arrive_under_their_own_numbers() -> None:
    read, write = os.pipe()
    child = Child.start(["sh", "-c", f"echo through > /proc/self/fd/{write}"], [write])
    os.close(write)
    try:
        assert await child.wait() == 0
        assert os.read(read, 100) == b"through\n"
    finally:
        await child.close()
        os.close(read)


async def test_only_the_first_messages_are_kept() -> None:
    child = Child.start(["sh", "-c", "yes first | head -c 1000000"], [])
    await child.wait()
    await child.close()
    assert 0 < len(child.messages()) <= MESSAGES_MAX


async def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ContainerError, match="apt-get install qemu-system-x86") as caught:
        Child.start(["qemu-system-x86_64"], [])
    assert caught.value.code is ErrorCode.UNSUPPORTED


def test_a_child_dies_with_its_parent() -> None:
    source = textwrap.dedent("""
        import asyncio, os, signal
        from container.vm.process import Child

        async def main():
            child = Child.start(["sleep", "60"], [])
            print(child.pid, flush=True)
            while open(f"/proc/{child.pid}/comm").read() != "sleep\\n":
                await asyncio.sleep(0.01)  # setpriv is on its way
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """)
    parent = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, timeout=30, check=False)
    assert parent.returncode == -signal.SIGKILL
    child = int(parent.stdout)
    try:
        pidfd = os.pidfd_open(child)
    except ProcessLookupError:
        return
    try:
        import select

        assert select.select([pidfd], [], [], 5)[0], f"process {child} outlived its parent"
    finally:
        os.close(pidfd)
