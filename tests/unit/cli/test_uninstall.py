"""What `system uninstall` refuses, and what it asks."""

import os
from pathlib import Path

import pytest

from container import paths
from container.cli.system import removal
from container.errors import ContainerError

from .conftest import FakeSystem, snapshot
from .test_main import HEALTH


def test_running_containers_are_in_the_way(system: FakeSystem) -> None:
    system.serve(paths.SUPERVISOR)
    system.answers["System.Ping"] = {
        "health": HEALTH | {"appRoot": str(system.root / "app"), "logRoot": str(system.root / "log")}
    }
    system.answers["Containers.List"] = {"containers": [snapshot("web"), snapshot("db")]}
    kept = system.root / "app" / "volumes"
    kept.mkdir()
    said = system.run("system", "uninstall", "--yes")
    assert (said.stdout, said.returncode) == ("", 1)
    assert said.stderr == (
        "Error: cannot remove the system while containers run (web, db): stop them, or use --force, which does\n"
    )
    assert kept.exists()


def test_another_app_root_than_that_of_the_system_which_runs(system: FakeSystem) -> None:
    system.serve(paths.SUPERVISOR)
    system.answers["System.Ping"] = {"health": HEALTH | {"appRoot": "/elsewhere"}}
    said = system.run("system", "uninstall", "-y", "-a", str(system.root / "app"))
    assert said.returncode == 1
    assert "the system that runs has the app root /elsewhere, not " in said.stderr


def test_without_an_answer_nothing_is_removed(offline: FakeSystem) -> None:
    kept = offline.root / "app" / "volumes" / "data"
    kept.mkdir(parents=True)
    said = offline.run("system", "uninstall")
    assert said.returncode == 1
    assert "nothing was removed; --yes goes on without asking" in said.stderr
    assert kept.exists()


def test_logins_go_with_the_usual_app_root_alone(offline: FakeSystem) -> None:
    directory = offline.root / "home" / ".config" / "container"
    directory.mkdir(parents=True)
    for name in ("config.json", "config.toml"):
        (directory / name).touch()
    (offline.root / "app" / "volumes").mkdir()
    said = offline.run("system", "uninstall", "-y").stdout
    assert f"{directory}/config.json stays, your logins to registries" in said
    assert sorted(os.listdir(directory)) == ["config.json", "config.toml"]
    if os.getuid() == 0:
        return  # whose usual app root is that of this machine's own system
    del offline.environment["CONTAINER_APP_ROOT"]
    said = offline.run("system", "uninstall", "-y").stdout
    assert f"Removed {directory}/config.json" in said
    assert os.listdir(directory) == ["config.toml"]


def test_a_directory_that_holds_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "people" / "me"
    (home / "images").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for root in (home, home.parent, Path("/")):
        with pytest.raises(ContainerError, match="this directory holds the home directory"):
            removal.Root(str(root), removal.APP)


def test_only_names_that_a_system_makes_are_its_own(tmp_path: Path) -> None:
    for name in ("images", ".probe-x", "accelerator.json", "accelerator.json.mine", "Images"):
        (tmp_path / name).touch()
    root = removal.Root(str(tmp_path), removal.APP)
    assert {os.path.basename(path) for path in root.ours} == {"images", ".probe-x", "accelerator.json"}
    assert {os.path.basename(path) for path in root.others} == {"accelerator.json.mine", "Images"}


def test_mount_points_with_spaces_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "app" / "a disk"
    below.mkdir(parents=True)
    table = tmp_path / "mountinfo"
    table.write_text(f"36 35 98:0 / {str(below).replace(' ', chr(92) + '040')} rw - ext4 /dev/x rw\n")
    monkeypatch.setattr(removal, "MOUNTS", str(table))
    with pytest.raises(ContainerError, match=f"something is mounted at {below}; unmount it first"):
        removal.Root(str(tmp_path / "app"), removal.APP)
