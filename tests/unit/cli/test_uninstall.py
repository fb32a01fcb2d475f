"""What `system uninstall` refuses, and what it asks."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from container import paths
from container.cli.system import removal, uninstall
from container.errors import ContainerError

from .conftest import FakeSystem, snapshot
from .test_main import HEALTH


def use(app: Path) -> None:
    """Leave in an app root what shows that a system used it."""
    (app / "networks" / "default").mkdir(parents=True)
    (app / "networks" / "default" / "entity.json").touch()


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
    use(offline.root / "app")
    said = offline.run("system", "uninstall")
    assert said.returncode == 1
    assert f"  - {offline.root}/app (" in said.stdout
    assert "): networks, volumes\n" in said.stdout
    assert "nothing was removed; --yes goes on without asking" in said.stderr
    assert kept.exists()


def test_logins_go_with_the_usual_app_root_alone(offline: FakeSystem) -> None:
    directory = offline.root / "home" / ".config" / "container"
    directory.mkdir(parents=True)
    for name in ("config.json", "config.toml"):
        (directory / name).touch()
    use(offline.root / "app")
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


def test_logins_stay_with_a_running_system_that_has_another_app_root(system: FakeSystem) -> None:
    logins = system.root / "home" / ".config" / "container" / "config.json"
    logins.parent.mkdir(parents=True)
    logins.touch()
    use(system.root / "app")
    system.serve(paths.SUPERVISOR)
    system.answers["System.Ping"] = {
        "health": HEALTH | {"appRoot": str(system.root / "app"), "logRoot": str(system.root / "log")}
    }
    system.answers["Containers.List"] = {"containers": []}
    del system.environment["CONTAINER_APP_ROOT"]
    said = system.run("system", "uninstall")  # nobody answers: only what would go is said
    assert f"  - {system.root}/app (" in said.stdout
    assert str(logins) not in said.stdout


@pytest.mark.parametrize("name", ["images", "volumes", "networks", "cache", "logs", "config", "containers", "kernels"])
def test_a_directory_that_no_system_used_is_refused(offline: FakeSystem, name: str) -> None:
    own = offline.root / "project"
    (own / name).mkdir(parents=True)
    (own / name / "precious").touch()
    said = offline.run("system", "uninstall", "-y", "-a", str(own))
    assert (said.stdout, said.returncode) == ("", 1)
    assert f"cannot remove the system in {own}: nothing in this directory shows that a system used it" in said.stderr
    assert (own / name / "precious").exists()


@pytest.mark.parametrize(
    "evidence", ["accelerator.json", "networks/default/entity.json", "logs/io.container.supervisor.log"]
)
def test_what_each_start_writes_shows_a_system(offline: FakeSystem, evidence: str) -> None:
    app = offline.root / "app"
    (app / evidence).parent.mkdir(parents=True, exist_ok=True)
    (app / evidence).touch()
    (app / "volumes").mkdir()
    assert f"Removed {app}" in offline.run("system", "uninstall", "-y").stdout
    assert not app.exists()


def test_an_interrupted_removal_is_completed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "app"
    use(app)
    (app / "volumes" / "data").mkdir(parents=True)
    everything = removal.remove

    def interrupted(found: list[str]) -> None:
        everything([path for path in found if not path.endswith("volumes")])
        raise KeyboardInterrupt

    monkeypatch.setattr(removal, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        removal.Root(str(app), removal.APP).remove()
    monkeypatch.undo()
    assert not (app / "networks").exists()
    assert (app / "volumes" / "data").exists()
    again = removal.Root(str(app), removal.APP)
    again.check_system()
    again.remove()
    assert not app.exists()


def test_sockets_are_the_systems_in_the_run_root_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "database"))
        assert removal.Root(str(tmp_path), removal.APP).ours == []
        assert removal.Root(str(tmp_path), removal.LOG).ours == []
        assert removal.Root(str(tmp_path), removal.RUN).ours == [str(tmp_path / "database")]


@pytest.mark.skipif(os.getuid() != 0, reason="gives a link to another user")
def test_a_link_that_another_user_laid_is_not_followed(offline: FakeSystem) -> None:
    run, target = offline.root / "run", offline.root / "mine"
    use(offline.root / "app")
    target.mkdir()
    (target / "networks").mkdir()
    run.rmdir()
    run.symlink_to(target)
    os.lchown(run, 1234, 1234)
    said = offline.run("system", "uninstall", "-y")
    assert (said.stdout, said.returncode) == ("", 1)
    assert f"cannot remove the system in {run}: this path belongs to another user" in said.stderr
    assert (target / "networks").exists()


def test_a_service_that_knows_the_app_root_by_another_path_is_in_the_way(tmp_path: Path) -> None:
    app, link = tmp_path / "app", tmp_path / "link"
    app.mkdir()
    link.symlink_to(app)
    environment = os.environ | {"CONTAINER_APP_ROOT": str(link), "CONTAINER_RUN_ROOT": "/its/run"}
    script = "print(flush=True); input()"
    words = [sys.executable, "-c", script, "container.apiserver.main"]
    service = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with service:
        assert service.stdout is not None
        service.stdout.readline()
        with pytest.raises(ContainerError, match="CONTAINER_RUN_ROOT=/its/run container system stop"):
            uninstall._check_ended(paths.Roots(str(app), "", "", "", ""))
        service.communicate(b"\n")
