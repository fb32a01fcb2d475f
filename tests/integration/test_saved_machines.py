"""Machines that go on from one that was saved, instead of booting: as good as new, and nothing that cannot boot."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.system import System

SHAPE = ("-c", "1", "-m", "210m")  # of no other test
LOOK = "cat /proc/sys/kernel/random/boot_id; ip -o addr show eth0; grep -c . /etc/hosts; date +%s"


def states(system: System) -> dict[Path, int]:
    """Files of saved machines, and their sizes."""
    return {path: path.stat().st_size for path in system.base.glob("app/cache/machine-*.state")}


@pytest.fixture(scope="module")
def state(system: System) -> Iterator[Path]:
    """The file of the machines of SHAPE, made by the first one."""
    if json.loads(system.output("system", "status", "--format", "json"))["accelerator"] != "tcg":
        pytest.skip("only emulated machines are saved")
    before = states(system)
    run(system, "first")
    (made,) = set(states(system)) - set(before)
    yield made
    made.unlink()


def run(system: System, name: str) -> tuple[list[str], list[str]]:
    """What a container of SHAPE sees, and the steps of its start."""
    seen = system.output("run", "--name", name, *SHAPE, "busybox", "sh", "-c", LOOK).splitlines()
    timeline = json.loads((system.base / f"app/containers/{name}/timeline.json").read_text())
    system.run("delete", name)
    return seen, [step for step, _ in timeline]


def test_a_machine_goes_on_with_identity_disks_and_network_of_its_own(system: System, state: Path) -> None:
    assert state.stat().st_mode & 0o777 == 0o600
    found = [run(system, name) for name in ("second", "third")]
    for _, steps in found:
        assert "kernel entered" not in steps
    (one, two) = ({line.split()[3] if "eth0" in line else line for line in seen[:-2]} for seen, _ in found)
    assert len(one) >= 3  # boot id, addresses
    assert not one & two
    before = json.loads(system.output("image", "inspect", "busybox"))
    assert before  # the image is as it was: its disk came after the saved machine


def test_ten_at_once(system: System, state: Path) -> None:
    script = "cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1"
    started = [system.popen("run", "--rm", *SHAPE, "busybox", "sh", "-c", script, stdout=-1) for _ in range(10)]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert len({line for output in outputs for line in output.splitlines()}) == 20


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_a_file_that_is_of_no_use_costs_a_boot_and_no_more(system: System, state: Path, damage: str) -> None:
    whole = state.read_bytes()
    try:
        state.write_bytes({"cut": whole[: len(whole) // 2], "garbage": bytes(1 << 20), "empty": b""}[damage])
        for name in ("damaged", "after"):
            seen, steps = run(system, name)
            assert len(seen) >= 4
            assert "kernel entered" in steps
            assert "machine saved" not in steps
            assert state.stat().st_size == 0
    finally:
        state.write_bytes(whole)
