"""What the Makefile calls: the demo beside a running system, and the stop before `make clean`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import images
from support.system import System, running_system, settle

TOOLS = Path(__file__).parents[2] / "tools"


def run_demo(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """`make demo` after its set-up."""
    command = [sys.executable, TOOLS / "demo.py"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def named(directory: Path) -> list[str]:
    """Processes with the directory in their arguments."""
    told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in told.splitlines() if str(directory) in line]


@pytest.mark.timeout(600)
def test_the_demo_leaves_a_running_system_alone_and_nothing_running(system: System, tmp_path: Path) -> None:
    if system.user is not None:
        pytest.skip("the demo runs as the caller")
    images.debian()

    def look() -> tuple[object, ...]:
        services = system.services()
        return system.output("list", "-a"), services["supervisor"], services["apiserver"]

    before = look()
    environment = {**os.environ, **system.environment, "TMPDIR": str(tmp_path)}
    demo = run_demo(environment)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "<h1>Served by nginx from its own virtual machine</h1>" in demo.stdout
    assert look() == before
    assert list(tmp_path.iterdir()) == []
    assert settle(lambda: named(tmp_path), lambda left: not left, timeout=10) == []


@pytest.mark.timeout(300)
def test_a_demo_that_fails_says_so_in_a_sentence_and_stops(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / images.debian().name).write_bytes(b"no archive")
    if (images.CACHE.parent / "kernels").exists():  # the demo's, so that it need not be fetched
        (tmp_path / "kernels").symlink_to(images.CACHE.parent / "kernels")
    demo = run_demo({**os.environ, "TMPDIR": str(tmp_path), "CONTAINER_TEST_CACHE": str(tmp_path)})
    assert demo.returncode == 1
    assert "Traceback" not in demo.stderr
    assert demo.stderr.splitlines()[-1].startswith("Error: the demo ended since `container image load` failed")
    assert settle(lambda: named(tmp_path), lambda left: not left, timeout=10) == []


def test_systems_of_this_clone_are_found_and_stopped_each_with_its_roots(system: System) -> None:
    sys.path.insert(0, str(TOOLS))
    try:
        import stop
    finally:
        sys.path.remove(str(TOOLS))
    with running_system(system.user) as other:
        found = {
            service.environment().get(b"CONTAINER_RUN_ROOT"): service
            for service in stop.services()
            if service.supervises
        }
        assert {os.fsencode(each.environment["CONTAINER_RUN_ROOT"]) for each in (system, other)} <= set(found)
        stop.stop(found[os.fsencode(other.environment["CONTAINER_RUN_ROOT"])])
        assert settle(other.processes, lambda processes: not processes, timeout=10) == {}
        assert system.output("list", "-q") is not None
        assert system.services()["supervisor"]
