"""Credentials from the environment of `system start`, and what credential helpers find in theirs."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import images, registry
from support import shop as shops
from support.registry import PASSWORD, USER, Registry

needed = [registry.PROGRAM, "skopeo", "htpasswd"]
pytestmark = pytest.mark.skipif(not all(map(shutil.which, needed)), reason=f"needs {', '.join(needed)}")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with logins, and an image in it."""
    with registry.running(tmp_path_factory.mktemp("registry"), login=True) as started:
        started.push(f"oci-archive:{images.busybox()}", "private/busybox:1")
        yield started


def test_the_variables_win_over_what_is_stored(guarded: Registry) -> None:
    name = f"{guarded.host}/private/busybox:1"
    variables = {"CONTAINER_REGISTRY_HOST": guarded.host, "CONTAINER_REGISTRY_USER": USER}
    with shops.opened(environment={**variables, "CONTAINER_REGISTRY_TOKEN": PASSWORD}) as shop:
        shop.run("image", "pull", name)
        assert shop.output("registry", "list", "-q") == "", "they are no login"
        files = [path for path in shop.base.rglob("*") if path.is_file()]
        assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    with shops.opened(environment={**variables, "CONTAINER_REGISTRY_TOKEN": "wrong"}) as shop:
        shop.run("registry", "login", "-u", USER, "--password-stdin", guarded.host, input=PASSWORD)
        refused = shop.run("image", "pull", name, check=False)
        assert refused.returncode == 1
        assert "failed with response: 401 Unauthorized" in refused.stderr


def test_a_credential_helper_finds_the_session_of_its_user(guarded: Registry, tmp_path: Path) -> None:
    helper, seen = tmp_path / "docker-credential-mine", tmp_path / "seen"
    answer = json.dumps({"ServerURL": guarded.host, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\n[ $1 = get ] || exit 1\nenv > {seen}\nexec echo '{answer}'\n")
    helper.chmod(0o755)
    docker = tmp_path / "docker"
    docker.mkdir()
    (docker / "config.json").write_text(json.dumps({"credHelpers": {guarded.host: "mine"}}))
    session = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/bus",
        "DOCKER_CONFIG": str(docker),
    }
    with shops.opened(environment=session) as shop:
        shop.run("image", "pull", f"{guarded.host}/private/busybox:1")
    found = dict(line.split("=", 1) for line in seen.read_text().splitlines())
    assert {name: found.get(name) for name in session} == session
