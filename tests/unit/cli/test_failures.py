"""What a command that fails prints, whatever made it fail; and what the help says of the defaults in force."""

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.unit.cli.conftest import FakeSystem, Reject

BROKEN = "import sys; from container.cli import client, main; client.call = None; sys.exit(main.main(sys.argv[1:]))"


def _broken(system: FakeSystem, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BROKEN, *words], env=system.environment, capture_output=True, text=True, check=False
    )


def test_a_fault_of_ours_is_a_sentence_and_its_place_is_shown_with_debug(offline: FakeSystem) -> None:
    result = _broken(offline, "network", "prune")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: the command failed by a fault of this program (TypeError);"
        " run it again with --debug and report what that shows\n"
    )
    assert "Traceback" in _broken(offline, "--debug", "network", "prune").stderr


@pytest.mark.parametrize("kind", ["volume", "network"])
def test_deleting_says_why_of_each_that_stays_and_goes_on(system: FakeSystem, kind: str) -> None:
    def delete(parameters: dict[str, Any], fds: list[int]) -> Any:
        if parameters["id"] != "free":
            raise Reject("invalidState", f"{parameters['id']} is in use")
        return {}

    nouns = f"{kind.capitalize()}s"
    system.answers[f"{nouns}.List"] = {f"{kind}s": [{"id": name} for name in ("one", "free", "two")]}
    system.answers[f"{nouns}.Delete"] = delete
    result = system.run(kind, "delete", "two", "free", "one")
    assert (result.returncode, result.stdout) == (1, "free\n")
    assert result.stderr.splitlines() == [
        f'Error: delete failed for one or more {kind}s: ["one", "two"]:',
        "  one is in use",
        "  two is in use",
    ]


def test_cpus_that_the_host_has_not_are_noted(system: FakeSystem) -> None:
    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    there = os.cpu_count() or 1
    result = system.run("create", "-c", str(there + 62), "busybox")
    assert (result.returncode, result.stdout) == (0, "web\n")
    assert f"this host has {there} CPUs, so the container gets {there} and not {there + 62}" in result.stderr
    assert "CPUs" not in system.run("create", "-c", str(there), "busybox").stderr


def test_the_help_names_the_defaults_in_force_and_nothing_that_is_refused(offline: FakeSystem) -> None:
    assert "(default: 4)" in offline.run("run", "--help").stdout
    config = offline.root / "app" / "config" / "config.toml"
    config.parent.mkdir()
    config.write_text('[container]\ncpus = 7\nmemory = "3g"\n')
    shown = " ".join(offline.run("run", "--help").stdout.split())
    assert "(default: 7)" in shown
    assert "with k, m, g, t or p (default: 3gb)" in shown
    assert "--virtualization" not in shown
    assert "--init-image" not in shown
    config.write_text("[container\n")
    assert offline.run("run", "--help").returncode == 0
