"""`system start` against canned services: what it says of a system that runs, and of the accelerator."""

import time
from typing import Any

import pytest

from container import paths

from .conftest import FakeSystem
from .test_main import HEALTH


@pytest.mark.parametrize(
    ("health", "told"),
    [
        ({"acceleratorNotice": "Emulated. To change that: buy one"}, "Emulated. To change that: buy one"),
        ({}, "Virtual machines are emulated here, without KVM: no /dev/kvm"),
        ({"accelerator": "kvm", "acceleratorReason": "so"}, "Virtual machines run with KVM: so"),
        (
            {"accelerator": "unknown", "acceleratorReason": "no QEMU"},
            "It is not known whether virtual machines run with KVM: no QEMU",
        ),
    ],
)
def test_a_second_system_start_says_so_and_shows_the_verdict(
    system: FakeSystem, health: dict[str, str], told: str
) -> None:
    found = HEALTH | health | {"appRoot": str(system.root / "app")}
    system.serve(paths.SUPERVISOR)
    system.answers |= {"System.Ping": {"health": found}, "System.AwaitAccelerator": {"health": found}}
    system.answers["System.GetKernel"] = {"kernel": {"path": "/k", "architecture": "amd64"}}
    result = system.run("system", "start")
    assert (result.stdout, result.returncode) == ("", 0)
    assert result.stderr.splitlines() == ["The system already runs.", told]


def test_a_verdict_that_takes_long_is_waited_for_with_a_word(system: FakeSystem) -> None:
    found = HEALTH | {"appRoot": str(system.root / "app")}

    def decide(parameters: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        if sum(method == "System.AwaitAccelerator" for method, _ in system.calls) == 1:
            time.sleep(3)
        return {"health": found}

    system.serve(paths.SUPERVISOR)
    system.answers |= {"System.Ping": {"health": found}, "System.AwaitAccelerator": decide}
    system.answers["System.GetKernel"] = {"kernel": {"path": "/k", "architecture": "amd64"}}
    lines = system.run("system", "start").stderr.splitlines()
    assert lines[1].startswith("Testing by a boot whether KVM works here, for 45 s at most")
    assert lines[2] == "Virtual machines are emulated here, without KVM: no /dev/kvm"


def test_settings_that_changed_since_the_start_are_told(system: FakeSystem) -> None:
    found = HEALTH | {"appRoot": str(system.root / "app")}
    config = system.root / "home" / ".config" / "container" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[container]\nmemory = "2g"\n')
    system.serve(paths.SUPERVISOR)
    system.answers |= {"System.Ping": {"health": found}, "System.AwaitAccelerator": {"health": found}}
    system.answers["System.GetKernel"] = {"kernel": {"path": "/k", "architecture": "amd64"}}
    assert f"count after `container system stop` and `container system start`: {config}" in (
        system.run("system", "start").stderr
    )
    assert not (system.root / "app" / "config").exists()


def test_a_start_with_another_app_root_says_that_alone(system: FakeSystem) -> None:
    system.serve(paths.SUPERVISOR)
    system.answers["System.Ping"] = {"health": HEALTH | {"appRoot": "/elsewhere"}}
    said = system.run("system", "start", "-a", str(system.root / "app"))
    assert (said.stdout, said.returncode) == ("", 1)
    assert said.stderr == (
        "Error: the system already runs with the app root /elsewhere; stop it first: container system stop\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        *(
            ("list",),
            ("image", "list"),
            ("run", "busybox"),
            ("system", "start"),
            ("system", "stop"),
            ("system", "status"),
        ),
        *(("system", "version"), ("system", "logs"), ("system", "property", "list"), ("system", "uninstall", "--yes")),
    ],
)
def test_a_run_root_that_others_can_enter_is_an_error_for_every_verb(
    offline: FakeSystem, words: tuple[str, ...]
) -> None:
    (offline.root / "run").chmod(0o755)
    result = offline.run(*words)
    assert (result.returncode, result.stdout) == (1, "")
    assert "close it: chmod 700" in result.stderr
