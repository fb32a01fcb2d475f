"""Pushes to a registry, and logins: what is sent, what is not, and what comes back."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.fakeregistry import PASSWORD, USER, FakeRegistry, Handler, status
from support.ociarchive import ImageFiles, digest, layout, member, tar

from container.errors import ContainerError, ErrorCode
from container.model.image import Platform
from container.oci.registry.credentials import Sources
from container.oci.registry.endpoints import Settings
from container.oci.registry.transport import Patience
from container.paths import Roots
from container.plugins.images.service import ImageService, opened

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
QUICK = Patience(connect=30, attempts=4, first_delay=0.02, longest_delay=0.05)
LAYER = tar(member("data", bytes(range(256)) * 4000))
IMAGE = ImageFiles([LAYER, tar(member("top", b"x"))], compress=False)
ARM = ImageFiles([tar(member("arm", b"y"))], architecture="arm64", compress=False)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        yield found


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ImageService]:
    roots = Roots(str(tmp_path / "app"), str(tmp_path / "run"), str(tmp_path), str(tmp_path), str(tmp_path / "none"))
    sources = Sources(str(tmp_path / "config.json"), (str(tmp_path / "docker.json"),))
    async with opened(roots, "docker.io", Settings(), sources, QUICK) as found:
        yield found


async def load(service: ImageService, root: Path, *images: tuple[str, ImageFiles]) -> None:
    path = root / "archive.tar"
    path.write_bytes(layout(*images))
    with path.open("rb") as file:
        await service.load(file.fileno(), False, lambda _: None)


async def push(service: ImageService, reference: str, platform: Platform | None = None) -> list[str] | None:
    return (await service.push(reference, platform, "auto", lambda _: None)).references


async def test_a_lone_manifest_comes_back_as_it_was(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    reference = registry.add("app", "1", IMAGE)
    await service.pull(reference, None, "auto", 3, lambda _: None)
    await service.tag(reference, f"{registry.host}/copy:2")
    assert await push(service, f"{registry.host}/copy:2") == [f"{registry.host}/copy:2"]
    assert registry.manifests["copy", "2"] == registry.manifests["app", "1"]
    assert registry.count("PATCH") == 0, "blobs are mounted from the other repository"
    assert registry.blobs["copy"] == {
        key: data for key, data in registry.blobs["app"].items() if key != digest(registry.manifests["app", "1"][1])
    }


async def test_an_index_is_pushed_with_all_its_platforms(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/multi:1"
    await load(service, tmp_path, (name, IMAGE), (name, ARM))
    await push(service, name)
    media_type, data = registry.manifests["multi", "1"]
    assert media_type == "application/vnd.oci.image.index.v1+json"
    assert digest(data)[7:] == (await service.get(name)).id
    for item in json.loads(data)["manifests"]:
        assert ("multi", item["digest"]) in registry.manifests
    registry.seen.clear()
    await push(service, name)
    assert registry.count("POST") == 0


async def test_one_platform_is_pushed_alone(service: ImageService, registry: FakeRegistry, tmp_path: Path) -> None:
    name = f"{registry.host}/multi:1"
    await load(service, tmp_path, (name, IMAGE), (name, ARM))
    await push(service, name, ARM64)
    assert "layers" in json.loads(registry.manifests["multi", "1"][1])
    assert digest(LAYER) not in registry.blobs["multi"]
    with pytest.raises(ContainerError, match="no content for platform linux/s390x; available platforms: linux/amd64"):
        await push(service, name, Platform("linux", "s390x"))


async def test_an_image_that_is_partly_here_is_pushed_only_where_the_rest_is(
    service: ImageService, registry: FakeRegistry
) -> None:
    reference = registry.add("multi", "1", IMAGE, ARM)
    await service.pull(reference, AMD64, "auto", 3, lambda _: None)
    await push(service, reference)
    await service.tag(reference, f"{registry.host}/other:1")
    with pytest.raises(ContainerError, match=r"lacks the content of linux/arm64.*--platform"):
        await push(service, f"{registry.host}/other:1")


async def test_a_broken_upload_goes_on_where_it_was(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/app:1"
    await load(service, tmp_path, (name, IMAGE))

    def half(handler: Handler) -> bool:
        if len(handler.body) < 100_000:
            return False
        session = handler.where.rpartition("/")[2]
        registry.uploads[session] += handler.body[:100_000]
        handler.hang_up()
        return True

    registry.fail("PATCH", half, times=1)
    registry.fail("POST", status(503), times=1)
    await push(service, name)
    assert registry.blobs["app"][digest(LAYER)] == LAYER
    assert any(seen.headers.get("Content-Range", "").startswith("100000-") for seen in registry.requests("PATCH"))


async def test_a_registry_that_forgets_an_upload_gets_it_again(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/app:1"
    await load(service, tmp_path, (name, IMAGE))

    def forget(handler: Handler) -> bool:
        del registry.uploads[handler.where.rpartition("/")[2]]
        handler.reply(500)
        return True

    registry.fail("PATCH", forget, times=1)
    await push(service, name)
    assert registry.blobs["app"][digest(LAYER)] == LAYER


async def test_uploads_follow_redirects_without_credentials(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.auth = "basic"
    name = f"{registry.host}/app:1"
    await load(service, tmp_path, (name, IMAGE))
    await service.registries.login(registry.host, USER, PASSWORD, "auto")
    with FakeRegistry() as storage:

        def elsewhere(handler: Handler) -> bool:
            if "Authorization" not in handler.headers:
                return False
            storage.uploads[handler.where.rpartition("/")[2]] = b""
            handler.reply(307, Location=f"http://{storage.host}{handler.path}")
            return True

        registry.fail("PATCH", elsewhere, times=99)
        registry.fail("POST", status(308, Location="/v2/app/blobs/uploads/?again"), times=1)
        registry.fail("PUT .*/manifests/", status(307, Location=f"/v2/app/manifests/{digest(b'x')}"), times=1)
        await push(service, name)
        assert storage.blobs["app"][digest(LAYER)] == LAYER
        assert len(storage.blobs["app"]) == 3
        assert not any("Authorization" in seen.headers for seen in storage.seen)
    assert digest(b"x") in {reference for _, reference in registry.manifests}


async def test_uploads_are_not_redirected_to_another_scheme(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/app:1"
    await load(service, tmp_path, (name, IMAGE))
    registry.fail("PATCH", status(307, Location="ftp://127.0.0.1/x?secret"), times=99)
    with pytest.raises(ContainerError, match=r"it redirects too often or to ftp://127.0.0.1/x$"):
        await push(service, name)


async def test_pushing_needs_credentials(service: ImageService, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth = "bearer"
    name = f"{registry.host}/app:1"
    await load(service, tmp_path, (name, IMAGE))
    registry.lifetime = -1  # a token that gives no access
    with pytest.raises(ContainerError) as caught:
        await push(service, name)
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
    assert "failed with response: 401 Unauthorized. Reason: " in caught.value.message
    assert f", no credentials found for host {registry.host}; `container registry login" in caught.value.message


async def test_a_login_is_checked_before_it_is_kept(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    for auth in ("basic", "bearer"):
        registry.auth = auth
        with pytest.raises(ContainerError) as caught:
            await service.registries.login(registry.host, USER, "wrong", "auto")
        assert caught.value.code is ErrorCode.UNAUTHENTICATED
        assert "no credentials found" not in caught.value.message
    assert await service.registries.all() == []
    registry.fail("GET /v2/$", status(503), times=2)
    await service.registries.login(registry.host, USER, PASSWORD, "auto")
    (known,) = await service.registries.all()
    assert (known.id, known.name, known.username, known.labels) == (registry.host, registry.host, USER, {})
    assert known.creation_date == known.modification_date > "2020"
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    await service.registries.logout(registry.host)
    await service.registries.logout("never.example")
    assert await service.registries.all() == []


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_a_login_lets_one_pull(service: ImageService, registry: FakeRegistry, auth: str) -> None:
    registry.auth = auth
    reference = registry.add("app", "1", IMAGE)
    if auth == "basic":
        with pytest.raises(ContainerError, match=f", no credentials found for host {registry.host}"):
            await service.pull(reference, None, "auto", 3, lambda _: None)
    await service.registries.login(registry.host, USER, PASSWORD, "auto")
    await service.pull(reference, None, "auto", 3, lambda _: None)
    await push(service, reference)


async def test_logins_of_docker_are_listed_and_left_alone(service: ImageService, tmp_path: Path) -> None:
    path = tmp_path / "docker.json"
    path.write_text(json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": "Ym9iOnB3"}, "ghcr.io": {}}}))
    before = path.read_text()
    (known,) = await service.registries.all()
    assert (known.id, known.username) == ("registry-1.docker.io", "bob")
    assert known.creation_date == known.modification_date == "1970-01-01T00:00:00Z"
    await service.registries.logout("docker.io")
    assert path.read_text() == before


async def test_what_an_image_refers_to_learns_of_it_also_in_an_old_registry(
    service: ImageService, registry: FakeRegistry, tmp_path: Path
) -> None:
    subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(b"x"), "size": 1}
    files = ImageFiles([LAYER], compress=False)
    add = files.add
    files.add = lambda content, kind: add(  # type: ignore[method-assign]
        {**content, "subject": subject} if isinstance(content, dict) and "layers" in content else content, kind
    )
    name = f"{registry.host}/app:1"
    await load(service, tmp_path, (name, files))
    await push(service, name)
    await push(service, name)
    _, data = registry.manifests["app", digest(b"x").replace(":", "-")]
    (entry,) = json.loads(data)["manifests"]
    assert entry["digest"] == digest(registry.manifests["app", "1"][1])
    assert entry["artifactType"] == "application/vnd.oci.image.config.v1+json"
