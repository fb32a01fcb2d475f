"""A real registry: what skopeo pushed we pull and what we push skopeo pulls, with logins and TLS of an own CA."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import images, ordinary, ports, registry
from support import shop as shops
from support.ociarchive import ImageFiles, layout, member, tar
from support.registry import PASSWORD, USER, Registry
from support.system import System

needed = [registry.PROGRAM, "skopeo", "htpasswd", "openssl"]
pytestmark = pytest.mark.skipif(not all(map(shutil.which, needed)), reason=f"needs {', '.join(needed)}")


@pytest.fixture(scope="module")
def plain() -> Iterator[Registry]:
    """A registry without logins and TLS."""
    with tempfile.TemporaryDirectory() as base, registry.running(Path(base)) as started:
        yield started


@pytest.fixture(scope="module")
def guarded() -> Iterator[Registry]:
    """A registry with logins and a certificate of its own CA."""
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        with registry.running(Path(base), login=True, tls=True) as started:
            yield started


@pytest.fixture(scope="module", params=["caller", "ordinary-user"])
def shop(request: pytest.FixtureRequest, guarded: Registry) -> Iterator[System]:
    """A system without a kernel that knows the CA of `guarded`, once as the caller and once as an ordinary user."""
    if request.param == "ordinary-user" and os.getuid() != 0:
        pytest.skip("the caller is an ordinary user already")
    user = ordinary.make_user() if request.param == "ordinary-user" else None
    with shops.opened(user, f'[registry.hosts."{guarded.host}"]\nca = "{guarded.ca}"\n') as system:
        yield system


@pytest.fixture(autouse=True)
def _empty(shop: System) -> Iterator[None]:
    yield
    shop.run("image", "prune", "-a")
    shop.run("image", "delete", "--all", "--force")


def inspect(shop: System, name: str) -> Any:
    """The one element of `image inspect`."""
    return json.loads(shop.output("image", "inspect", name))[0]


def archive(directory: Path, *files: tuple[str | None, ImageFiles]) -> str:
    """An OCI archive as skopeo names it."""
    path = directory / f"{len(list(directory.iterdir()))}.tar"
    path.write_bytes(layout(*files))
    return f"oci-archive:{path}"


@pytest.mark.parametrize(
    "options",
    [["--format", "oci"], ["--format", "v2s2"], ["--format", "oci", "--dest-compress-format", "zstd"]],
    ids=["oci", "docker", "zstd"],
)
def test_what_skopeo_pushed_is_pulled(shop: System, plain: Registry, options: list[str]) -> None:
    name = plain.push(f"oci-archive:{images.busybox()}", "skopeo/busybox:1", *options)
    result = shop.run("image", "pull", name)
    assert result.stdout == ""
    found = inspect(shop, name)
    assert found["configuration"]["name"] == name
    (variant,) = found["variants"]
    manifest = json.loads(plain.skopeo("inspect", "--raw", f"docker://{name}"))
    assert variant["digest"] == plain.digest("skopeo/busybox:1")
    assert variant["size"] > manifest["layers"][0]["size"]
    assert variant["config"]["rootfs"]["diff_ids"]
    assert shop.output("image", "list", "-q") == name


def test_what_we_push_skopeo_pulls(shop: System, plain: Registry, tmp_path: Path) -> None:
    with images.busybox().open("rb") as stream:
        shop.run("image", "load", stdin=stream)
    name = f"{plain.host}/ours/box:2"
    shop.run("image", "tag", "busybox", name)
    assert shop.output("image", "push", name) == name
    plain.fetch("ours/box:2", tmp_path / "theirs")
    index = json.loads((tmp_path / "theirs/index.json").read_text())
    (variant,) = inspect(shop, name)["variants"]
    assert index["manifests"][0]["digest"] == variant["digest"]
    assert plain.digest("ours/box:2") == variant["digest"]  # an index that was made here stays here
    before = inspect(shop, name)
    shop.run("image", "delete", "--all")
    shop.run("image", "pull", name)
    assert inspect(shop, name) == before


def test_of_a_multi_platform_image_only_what_is_wanted_comes(shop: System, plain: Registry, tmp_path: Path) -> None:
    layers = {arch: [tar(member("arch", arch.encode()))] for arch in ("amd64", "arm64", "s390x")}
    files = [("multi", ImageFiles(layer, architecture=arch)) for arch, layer in layers.items()]
    name = plain.push(archive(tmp_path, *files), "multi:1", "--all")
    shop.run("image", "pull", "--platform", "linux/arm64", name)
    one = inspect(shop, name)
    assert [item["platform"]["architecture"] for item in one["variants"]] == ["arm64"]
    assert one["configuration"]["descriptor"]["digest"] == plain.digest("multi:1")
    refused = shop.run("image", "pull", "-a", "riscv64", name, check=False)
    assert refused.returncode == 1
    assert "linux/riscv64" in refused.stderr
    shop.run("image", "pull", name)
    assert len(inspect(shop, name)["variants"]) == 3
    copy = f"{plain.host}/multi:copy"
    shop.run("image", "tag", name, copy)
    shop.run("image", "push", copy)
    assert plain.digest("multi:copy") == plain.digest("multi:1")
    shop.run("image", "tag", name, f"{plain.host}/multi:one")
    shop.run("image", "push", "--platform", "linux/s390x", f"{plain.host}/multi:one")
    plain.fetch("multi:one", tmp_path / "one", "--override-arch", "s390x")


def test_an_image_is_pulled_by_digest(shop: System, plain: Registry) -> None:
    plain.push(f"oci-archive:{images.busybox()}", "digest/busybox:1")
    name = f"{plain.host}/digest/busybox@{plain.digest('digest/busybox:1')}"
    shop.run("image", "pull", name)
    assert inspect(shop, name)["configuration"]["name"] == name
    untagged = shop.output("image", "prune").splitlines()  # it has no tag
    assert untagged[0] == f"untagged {name}"
    assert shop.output("image", "list", "-q") == ""


def test_a_moved_tag_is_pulled_anew_and_what_it_meant_is_dropped(shop: System, plain: Registry, tmp_path: Path) -> None:
    old, new = (ImageFiles([tar(member("version", text))]) for text in (b"old", b"new"))
    name = plain.push(archive(tmp_path, ("x", old)), "moved:1")
    shop.run("image", "pull", name)
    before = inspect(shop, name)["variants"][0]["digest"]
    plain.push(archive(tmp_path, ("x", new)), "moved:1")
    shop.run("image", "pull", name)
    assert inspect(shop, name)["variants"][0]["digest"] not in (before,)
    assert shop.run("image", "prune").stdout == ""


def test_what_is_not_there_says_so(shop: System, plain: Registry) -> None:
    missing = shop.run("image", "pull", f"{plain.host}/no/such:1", check=False)
    assert missing.returncode == 1
    assert "/v2/no/such/manifests/1 failed with response: 404 Not Found. Reason: " in missing.stderr
    closed = shop.run("image", "pull", f"localhost:{ports.reserve()}/x", check=False)
    assert "over http failed" in closed.stderr
    assert "system start" not in closed.stderr
    tls = shop.run("image", "pull", "--scheme", "https", f"{plain.host}/x", check=False)
    assert "over https failed" in tls.stderr
    assert (
        "image with reference nothing/here not found" in shop.run("image", "push", "nothing/here", check=False).stderr
    )


def test_logins(shop: System, guarded: Registry) -> None:
    name = guarded.push(f"oci-archive:{images.busybox()}", "private/busybox:1")
    pull = ["image", "pull", "--scheme", "https", name]
    anonymous = shop.run(*pull, check=False)
    assert anonymous.returncode == 1
    assert "401 Unauthorized. Reason: " in anonymous.stderr
    assert f", no credentials found for host {guarded.host}" in anonymous.stderr
    login = ["registry", "login", "--scheme", "https", "-u", USER, "--password-stdin", guarded.host]
    wrong = shop.run(*login, input="wrong", check=False)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "failed with response: 401 Unauthorized" in wrong.stderr
    assert shop.output("registry", "list", "-q") == ""
    assert shop.run(*login, input=PASSWORD).stderr == "Login succeeded\n"
    (entry,) = json.loads(shop.output("registry", "list", "--format", "json"))
    assert (entry["id"], entry["name"], entry["username"]) == (guarded.host, guarded.host, USER)
    shop.run(*pull)
    shop.run("image", "tag", name, f"{guarded.host}/private/mine:1")
    shop.run("image", "push", "--scheme", "https", f"{guarded.host}/private/mine:1")
    assert inspect(shop, name)["variants"][0]["digest"] == guarded.digest("private/busybox:1")
    shop.run("registry", "logout", guarded.host)
    assert shop.output("registry", "list", "-q") == ""
    shop.run("image", "delete", "--all")
    assert "no credentials found" in shop.run(*pull, check=False).stderr


def test_no_file_holds_the_plain_password(shop: System, guarded: Registry) -> None:
    secrets = [path for path in shop.base.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert secrets == []


def test_an_unknown_authority_is_refused(shop: System, tmp_path: Path) -> None:
    with registry.running(tmp_path, tls=True) as stranger:
        refused = shop.run("image", "pull", "--scheme", "https", f"{stranger.host}/x", check=False)
    assert refused.returncode == 1
    assert "over https failed" in refused.stderr
    assert "certificate" in refused.stderr.lower()


def test_two_pulls_and_a_prune_at_once(shop: System, plain: Registry) -> None:
    name = plain.push(f"oci-archive:{images.busybox()}", "busy/busybox:1")
    wanted = plain.digest("busy/busybox:1")
    for _ in range(4):
        tasks = [shop.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for words in (
            ["image", "pull", name], ["image", "pull", name], ["image", "prune", "-a"], ["image", "prune"],
        )]  # fmt: skip
        ends = [(task.communicate(timeout=60)[1], task.returncode) for task in tasks]
        assert [code for _, code in ends] == [0, 0, 0, 0], ends
        assert shop.output("image", "list", "-q") in ("", name)
        if shop.output("image", "list", "-q"):
            assert [item["digest"] for item in inspect(shop, name)["variants"]] == [wanted]
            shop.run("image", "save", "-o", "/dev/null", name)
            shop.run("image", "delete", name)
