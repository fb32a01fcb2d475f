"""`system uninstall` removes all that a system left, for both users, and nothing else."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from support import ordinary
from support.system import System, running_system, settle

PROGRAM = "The program stays. "


@pytest.fixture(params=["caller", "ordinary-user"])
def fresh(request: pytest.FixtureRequest) -> Iterator[System]:
    """A system without a kernel, started, for one test."""
    user = None
    if request.param == "ordinary-user":
        if os.getuid() != 0:
            pytest.skip("the caller is an ordinary user already")
        user = ordinary.make_user()
    with running_system(user, kernel=False) as system:
        yield system


def as_owners(system: System, script: str) -> None:
    """Run a script as the root of the user's containers."""
    words = ["sh", "-ec", script]
    if system.user is not None:
        words = ["unshare", "--map-root-user", "--map-auto", "--", *words]
        words = ["setpriv", f"--reuid={system.user}", f"--regid={system.user}", "--init-groups", *words]
    subprocess.run(words, env=system.environment, check=True)


def test_everything_goes_and_nothing_else(fresh: System) -> None:
    app, outside = fresh.base / "app", fresh.base / "home" / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    fresh.run("volume", "create", "--opt", "type=directory", "shared")
    fresh.run("volume", "create", "disk")
    data = app / "volumes" / "shared" / "data"
    deep = "i=0; while [ $i -lt 300 ]; do mkdir d; cd d; i=$((i+1)); done"
    script = f"cd {data}; mkdir -m 700 a; echo x >a/f; chown -R 1000:1000 a; ln -s {outside} link; ln a/f hard; {deep}"
    as_owners(fresh, script)
    (app / "own notes").write_text("the user's")
    refused = fresh.run("system", "uninstall", input="no\n")
    assert refused.stdout.startswith("This will remove the system, with 0 containers, 2 volumes and all images")
    assert data.exists()
    said = fresh.run("system", "uninstall", input="y\n").stdout
    assert [path.name for path in app.iterdir()] == ["own notes"]
    assert not (fresh.base / "run").exists()
    assert (outside / "kept").read_text() == "kept"
    assert f"{app / 'own notes'} stays: the system did not make it" in said
    assert "Freed " in said
    assert PROGRAM in said
    assert settle(fresh.processes, lambda found: not found, timeout=10) == {}
    (app / "own notes").unlink()
    as_owners(fresh, f"mkdir -p {app}/networks/left")
    assert "nothing in this directory shows" in fresh.run("system", "uninstall", "-y", check=False).stderr
    as_owners(fresh, f"touch {app}/.uninstall")  # as by one that was interrupted
    assert f"Removed {app}" in fresh.run("system", "uninstall", "-y").stdout
    assert not app.exists()
    again = fresh.run("system", "uninstall", "-y").stdout
    assert again.startswith(f"There is nothing to remove in {app} and {fresh.base / 'run'}.\n")


def test_an_app_root_behind_a_link_goes_with_the_link(fresh: System) -> None:
    fresh.run("system", "stop")
    app, disk = fresh.base / "app", fresh.base / "disk"
    app.rename(disk)
    app.symlink_to(disk)
    fresh.run("system", "uninstall", "-y")
    assert not disk.exists()
    assert not app.is_symlink()


@pytest.mark.skipif(os.getuid() != 0, reason="mounts something")
def test_what_is_mounted_below_the_app_root_is_not_touched(fresh: System) -> None:
    images = fresh.base / "app" / "images"
    images.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs none {images} && touch {images}/precious && "$@"; s=$?; ls {images}; exit $s'
    words = ["unshare", "--mount", "sh", "-c", mount, "sh", *fresh.command("system", "uninstall", "-y")]
    said = subprocess.run(words, env=fresh.environment, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 1
    assert f"something is mounted at {images}; unmount it first: sudo umount {images}" in said.stderr
    assert said.stdout == "precious\n"
    assert (fresh.base / "app" / "volumes").exists()


def test_a_system_under_another_run_root_is_left_alone(fresh: System) -> None:
    elsewhere = {"CONTAINER_RUN_ROOT": str(fresh.base / "home" / "run")}
    said = fresh.run("system", "uninstall", "-y", check=False, env=elsewhere)
    assert said.returncode == 1
    assert f"CONTAINER_RUN_ROOT={fresh.base / 'run'} container system stop" in said.stderr
    assert fresh.run("system", "status").returncode == 0
