"""Credentials from variables, docker's and podman's files, and helper programs."""

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from container.errors import ContainerError, ErrorCode
from container.oci.registry import helper, logins
from container.oci.registry.credentials import Credential, Sources, find

HELPER = """#!/bin/sh
cd {directory}
echo "$1" >> calls
case "$1" in
get) read -r server || true
    case "$server" in
    https://index.docker.io/v1/) echo '{{"ServerURL":"x","Username":"hub","Secret":"pw"}}' ;;
    token.example) echo '{{"ServerURL":"x","Username":"<token>","Secret":"idtoken"}}' ;;
    odd.example) echo 'no json' ;;
    slow.example) exec sleep 60 ;;
    *) echo 'credentials not found in native keychain'; exit 1 ;;
    esac ;;
store) cat > stored ;;
erase) cat > erased ;;
list) echo '{{"https://index.docker.io/v1/":"hub"}}' ;;
esac
"""


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def write(path: Path, **config: Any) -> str:
    path.write_text(json.dumps(config))
    return str(path)


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "helpers"
    directory.mkdir()
    program = directory / "docker-credential-fake"
    program.write_text(HELPER.format(directory=directory))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


async def test_the_first_source_that_knows_the_host_wins(tmp_path: Path) -> None:
    own = write(tmp_path / "own", auths={"a.example": auth("own", "1")})
    podman = write(tmp_path / "podman", auths={"b.example": auth("podman", "2"), "a.example": auth("no", "")})
    docker = write(tmp_path / "docker", auths={"https://c.example/v2/": auth("docker", "a:b")})
    environment = {
        "CONTAINER_REGISTRY_HOST": "d.example",
        "CONTAINER_REGISTRY_USER": "ci",
        "CONTAINER_REGISTRY_TOKEN": "t",
    }
    sources = Sources(own, (podman, docker, str(tmp_path / "none")), environment)
    assert await find(sources, "a.example") == Credential("own", "1")
    assert await find(sources, "b.example") == Credential("podman", "2")
    assert await find(sources, "c.example") == Credential("docker", "a:b")
    assert await find(sources, "d.example") == Credential("ci", "t")
    assert await find(sources, "e.example") is None


async def test_a_login_for_a_part_of_a_registry_wins_there(tmp_path: Path) -> None:
    own = write(tmp_path / "own", auths={"quay.io": auth("all", "1"), "quay.io/team": auth("team", "2")})
    sources = Sources(own)
    assert await find(sources, "quay.io", "team/app") == Credential("team", "2")
    assert await find(sources, "quay.io", "other/app") == Credential("all", "1")


@pytest.mark.parametrize("key", ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"])
async def test_the_hub_has_many_names(tmp_path: Path, key: str) -> None:
    own = write(tmp_path / "own", auths={key: auth("me", "pw")})
    assert await find(Sources(own), "registry-1.docker.io") == Credential("me", "pw")


@pytest.mark.parametrize("entry", [{}, {"auth": ""}, {"auth": "%%%"}, {"auth": "/w=="}, None, "x", {"auth": 5}])
async def test_entries_that_say_nothing_are_passed_over(tmp_path: Path, entry: Any) -> None:
    own = write(tmp_path / "own", auths={"a.example": entry})
    assert await find(Sources(own), "a.example") is None


async def test_an_identity_token_is_kept_apart(tmp_path: Path) -> None:
    own = write(tmp_path / "own", auths={"a.example": {"auth": "MDA6", "identitytoken": "idt"}})
    found = await find(Sources(own), "a.example")
    assert found is not None
    assert found.identity_token == "idt"


async def test_our_own_file_must_be_right_others_need_not(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("{")
    assert await find(Sources(str(tmp_path / "none"), (str(broken),)), "a.example") is None
    with pytest.raises(ContainerError, match="not JSON"):
        await find(Sources(str(broken)), "a.example")


async def test_helpers_are_asked_first(tmp_path: Path, helpers: Path) -> None:
    everything = {"a.example": auth("file", "1")}
    own = write(tmp_path / "own", credsStore="fake", auths=everything)
    sources = Sources(own)
    assert await find(sources, "registry-1.docker.io") == Credential("hub", "pw")
    assert await find(sources, "token.example") == Credential("", "", "idtoken")
    assert await find(sources, "a.example") == Credential("file", "1")
    own = write(tmp_path / "own", credHelpers={"a.example": "fake"}, auths={"b.example": auth("file", "2")})
    (helpers / "calls").unlink()
    assert await find(sources, "b.example") == Credential("file", "2")
    assert not (helpers / "calls").exists()


async def test_helpers_that_fail(tmp_path: Path, helpers: Path) -> None:
    with pytest.raises(ContainerError) as caught:
        await helper.get("absent", "a.example")
    assert caught.value.code is ErrorCode.UNSUPPORTED
    with pytest.raises(ContainerError, match="no credential"):
        await helper.get("fake", "odd.example")
    with pytest.raises(ContainerError) as caught:
        await helper.get("fake", "slow.example", deadline=0.3)
    assert caught.value.code is ErrorCode.TIMEOUT
    with pytest.raises(ContainerError, match="malformed name"):
        await helper.get("../sh", "a.example")
    docker = write(tmp_path / "docker", credsStore="absent", auths={"b.example": auth("file", "2")})
    assert await find(Sources(str(tmp_path / "none"), (docker,)), "b.example") is None


async def test_a_login_goes_to_the_helper_that_our_file_names(tmp_path: Path, helpers: Path) -> None:
    path = tmp_path / "config" / "config.json"
    path.parent.mkdir()
    sources = Sources(write(path, credHelpers={"a.example": "fake"}, other={"kept": 1}))
    await logins.add(sources, "a.example", Credential("me", "secret"))
    assert json.loads((helpers / "stored").read_text()) == {
        "ServerURL": "a.example",
        "Username": "me",
        "Secret": "secret",
    }
    assert "secret" not in path.read_text()
    assert json.loads(path.read_text())["other"] == {"kept": 1}
    names = {item.id: item.username for item in await logins.registries(sources)}
    assert names == {"a.example": "me", "registry-1.docker.io": "hub"}
    await logins.remove(sources, "a.example")
    assert (helpers / "erased").read_text() == "a.example"


async def test_logins_have_dates_and_are_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config" / "config.json"
    sources = Sources(str(path))
    await logins.add(sources, "a.example", Credential("me", "1"))
    document = json.loads(path.read_text())
    document["auths"]["a.example"]["containerCreated"] = "2020-01-01T00:00:00Z"
    path.write_text(json.dumps(document))
    await logins.add(sources, "a.example", Credential("you", "2"))
    (known,) = await logins.registries(sources)
    assert (known.username, known.creation_date) == ("you", "2020-01-01T00:00:00Z")
    assert known.modification_date > "2020-01-02"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await find(sources, "a.example") == Credential("you", "2")


def test_a_credential_does_not_show_its_secret() -> None:
    assert "s3cret" not in repr(Credential("me", "s3cret", "s3cret"))
