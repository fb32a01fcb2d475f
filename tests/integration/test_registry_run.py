"""`run` and `create` fetch what is not here, for the one platform that they need."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import images, registry
from support.ociarchive import ImageFiles, layout, member, tar
from support.registry import Registry
from support.system import System

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, [registry.PROGRAM, "skopeo"])), reason="needs docker-registry and skopeo"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry without logins and TLS."""
    with registry.running(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.mark.vm
def test_run_pulls_unpacks_and_keeps_an_image(system: System, plain: Registry) -> None:
    name = plain.push(f"oci-archive:{images.busybox()}", "auto/busybox:1")
    result = system.run("run", "--rm", "-m", "256m", "-c", "1", "--network", "none", name, "echo", "pulled")
    try:
        assert result.stdout == "pulled\n"
        for line in result.stderr.splitlines():  # what takes under 0.3 s is not shown
            assert line.startswith("[")
        assert name in system.output("image", "list", "-q").splitlines()
    finally:
        system.run("image", "delete", name)


def test_create_takes_the_platform_that_it_is_told(system: System, plain: Registry, tmp_path: Path) -> None:
    if system.user is not None:
        pytest.skip("the platform is chosen the same way for every user")
    files = [("x", ImageFiles([tar(member(arch, b""))], {"Cmd": ["/x"]}, arch)) for arch in ("amd64", "arm64")]
    (tmp_path / "x.tar").write_bytes(layout(*files))
    name = plain.push(f"oci-archive:{tmp_path / 'x.tar'}", "auto/multi:1", "--all")
    absent = system.run("create", "--platform", "linux/s390x", name, check=False)
    assert absent.returncode == 1
    assert "linux/s390x" in absent.stderr
    id = system.output("create", name, env={"CONTAINER_DEFAULT_PLATFORM": "linux/arm64"})
    try:
        assert system.inspect(id)["configuration"]["platform"] == {"os": "linux", "architecture": "arm64"}
        (image,) = json.loads(system.output("image", "inspect", name))
        assert [item["platform"]["architecture"] for item in image["variants"]] == ["arm64"]
        refused = system.run("image", "delete", "-f", name, check=False)
        assert f"image {name} is in use by containers: {id}" in refused.stderr
        assert system.run("image", "prune").returncode == 0  # not -a: the other tests share this system
        assert name in system.output("image", "list", "-q").splitlines()
        usage = json.loads(system.output("system", "df", "--format", "json"))
        assert usage["containers"]["total"] >= 1
        assert usage["images"]["active"] >= 1
    finally:
        system.run("delete", id)
        system.run("image", "delete", name)
