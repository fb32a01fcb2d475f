"""Networks outlive their services: a crash of the API server or of a helper, and a stop of the whole system."""

import contextlib
import json
import os
import signal
from typing import Any

import pytest
from support.system import System, settle

pytestmark = pytest.mark.vm
SMALL = ("-c", "1", "-m", "256m")


def _networks(system: System) -> dict[str, Any]:
    return {each["id"]: each for each in json.loads(system.output("network", "list", "--format", "json"))}


def test_networks_are_there_again_after_a_restart_of_the_system(system: System) -> None:
    if system.user is not None:
        pytest.skip("the same for every user")
    system.run("network", "create", "--subnet", "10.66.0.0/24", "--label", "a=1", "--internal", "kept")
    try:
        before = _networks(system)
        script = "ip -o -4 addr show eth0 | grep -o '10.66.0.9/24'"
        system.run(
            *("create", "--name", "resident", *SMALL, "--network", "kept,ip=10.66.0.9", "busybox", "sh", "-c", script)
        )
        system.run("system", "stop")
        system.run("system", "start")
        assert _networks(system) == before
        assert system.output("start", "-a", "resident") == "10.66.0.9/24"
    finally:
        system.run("delete", "-f", "resident", check=False)
        system.run("network", "delete", "kept")


def test_networks_are_there_again_after_a_crash_of_the_api_server(system: System) -> None:
    system.run("network", "create", "crash")
    before = _networks(system)
    os.kill(system.services()["apiserver"], signal.SIGKILL)
    assert _networks(system) == before
    assert system.output("network", "delete", "crash") == "crash"


def test_a_network_whose_helper_died_leaves_nothing_when_it_is_deleted(system: System) -> None:
    system.run("network", "create", "orphan")

    def of_network() -> list[int]:
        return [pid for pid, words in system.processes().items() if "orphan" in words]

    helpers = settle(of_network, bool, 10)
    for pid in helpers:
        with contextlib.suppress(ProcessLookupError):  # one that only set the network up
            os.kill(pid, signal.SIGKILL)
    assert system.output("network", "delete", "orphan") == "orphan"
    assert settle(of_network, lambda pids: not pids, 10) == []
    assert not (system.base / "run" / "networks" / "orphan.json").exists()
