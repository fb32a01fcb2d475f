"""Machines that hang: while they start, and later; and callers that are killed while one starts."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.rig import Rig
from support.system import System, settle


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig(tmp_path_factory.mktemp("hanging"))


@pytest.fixture
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is missing a QEMU that starts makes it, and stops for good."""
    real, file, directory = shutil.which("qemu-system-x86_64"), tmp_path / "well", tmp_path / "bin"
    directory.mkdir()
    program = directory / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\n[ -e {file} ] || {{ echo $$ > {file}; kill -STOP $$; }}\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    return file


async def test_a_start_that_hangs_is_repeated_from_a_boot_and_the_caller_sees_a_normal_run(
    rig: Rig, well: Path
) -> None:
    well.touch()
    async with rig.helper("before") as helper:  # which the next one goes on from
        assert (await helper.run(["true"]))[0] == 0
    well.unlink()
    async with rig.helper("hung") as helper:
        assert await helper.run(["echo", "hello"]) == (0, "hello\n", "")
        assert await helper.ended() == 0
    assert not os.path.exists(f"/proc/{well.read_text().strip()}")
    steps = (helper.bundle / "timeline.json").read_text()
    assert "start repeated" in steps
    assert "kernel entered" in steps


async def test_a_guest_that_locks_up_later_shows_until_it_goes_on(rig: Rig) -> None:
    async with rig.helper("stuck") as helper:
        await helper.start(["sleep", "1000"], speed=4.0)
        os.kill(helper.qemu(), signal.SIGSTOP)
        marked = await helper.until(lambda status: status.unresponsive_since)
        assert marked.state.value == "running"
        os.kill(helper.qemu(), signal.SIGCONT)
        await helper.until(lambda status: not status.unresponsive_since)
        await helper.stop(9, 0)


def test_a_cli_that_is_killed_while_its_container_starts_leaves_nothing(system: System) -> None:
    def left() -> list[int]:
        return [pid for pid, words in system.processes().items() if "killed-early" in " ".join(words)]

    cli = system.popen("run", "--rm", "--name", "killed-early", "-m", "256m", "busybox", "sleep", "1000")
    machines = settle(lambda: [pid for pid in left() if pid != cli.pid], bool, timeout=60)
    assert machines
    cli.kill()
    cli.wait()
    begin = time.monotonic()
    assert not settle(left, lambda pids: not pids, timeout=20), time.monotonic() - begin
    assert "killed-early" not in system.output("list", "-a", "-q").split()


def test_starts_are_counted(system: System, box: str) -> None:
    del box
    status = system.output("system", "status")
    counted = dict(line.rsplit(None, 1) for line in status.splitlines() if "starts" in line)
    assert int(counted["starts"]) >= 1
    assert int(counted["repeated starts"]) >= 0
