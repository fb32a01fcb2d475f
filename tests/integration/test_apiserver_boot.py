"""Callers that come, go and change their mind while a real machine boots."""

import os
import signal
import subprocess

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
SMALL = ("-m", "256m", "-c", "1")


def _bundles(system: System) -> list[str]:
    return [name for name in os.listdir(system.base / "app" / "containers") if not name.startswith(".")]


def _machines(system: System) -> list[str]:
    return [words[0] for words in system.processes().values() if "qemu-system" in words[0]]


def test_ctrl_c_during_the_boot_leaves_nothing(system: System) -> None:
    before = _bundles(system), len(_machines(system))
    process = system.popen("run", "--rm", *SMALL, "busybox", "sleep", "100", stderr=subprocess.DEVNULL)
    settle(lambda: len(_machines(system)), lambda count: count > before[1], 30)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert settle(lambda: (_bundles(system), len(_machines(system))), lambda seen: seen == before, 30) == before


def test_a_boot_can_be_stopped(system: System) -> None:
    system.run("create", "--name", "booting", *SMALL, "busybox", "sleep", "100")
    machines = len(_machines(system))
    process = system.popen("start", "booting", stderr=subprocess.PIPE, text=True)
    settle(lambda: len(_machines(system)), lambda count: count > machines, 30)
    system.run("stop", "booting")
    assert system.state("booting") == "stopped"
    assert "failed to bootstrap container booting" in process.communicate(timeout=60)[1]
    assert process.returncode == 1
    system.run("start", "booting")
    assert system.state("booting") == "running"
    system.run("delete", "-f", "booting")


def test_the_same_container_is_started_by_many_at_once(system: System) -> None:
    system.run("create", "--name", "popular", *SMALL, "busybox", "sleep", "1000")
    machines = len(_machines(system))
    starts = [system.popen("start", "popular", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(60) for process in starts] == [0, 0, 0, 0]
    assert len(_machines(system)) == machines + 1
    system.run("delete", "-f", "popular")


def test_names_are_free_again_as_soon_as_run_returns(system: System) -> None:
    for number in range(3):
        result = system.run(
            "run", "--rm", "--name", "again-and-again", *SMALL, "busybox", "sh", "-c", f"exit {number}", check=False
        )
        assert result.returncode == number
