"""The image store as its clients see it: real archives in, real squashfs and disks out."""

import asyncio
import base64
import gzip
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.ociarchive import ImageFiles, digest, docker_archive, layout, link, member, tar

from container.errors import ContainerError, ErrorCode
from container.model.event import ImageEvent, PrepareEvent
from container.model.image import Platform, Rootfs
from container.model.platform import host_architecture
from container.oci.layerindex import LayerIndex
from container.oci.layers import LayerBuild
from container.paths import Roots
from container.plugins.images.service import ImageService, opened

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
BASE = tar(member("bin/sh", b"base"), member("etc/motd", b"one"))
TOP = tar(member("etc/motd", b"two"))
IMAGE = ImageFiles([BASE, TOP], {"Cmd": ["/bin/sh"], "Env": ["A=b"]})


@dataclass
class Shop:
    """A service on a root of its own, and shorthands."""

    service: ImageService
    root: Path

    async def load(self, archive: bytes, *, force: bool = False) -> ImageEvent:
        path = self.root / "archive.tar"
        path.write_bytes(archive)
        fd = os.open(path, os.O_RDONLY)
        try:
            return await self.service.load(fd, force, lambda _: None)
        finally:
            os.close(fd)
            path.unlink()

    async def names(self) -> list[str]:
        return [image.configuration.name for image in await self.service.images()]

    async def save(self, target: Path, *references: str, platform: Platform | None = None) -> ImageEvent:
        with target.open("wb") as file:
            return await self.service.save(file.fileno(), list(references), platform, lambda _: None)

    async def rootfs(self, reference: str, platform: Platform = AMD64) -> Rootfs:
        event = await self.service.prepare(reference, platform, lambda _: None)
        assert event.rootfs is not None
        return event.rootfs

    def files(self) -> set[str]:
        images = self.root / "app" / "images"
        found = {str(path.relative_to(images)) for path in images.rglob("*") if path.is_file()}
        return found - {".lock", "oci-layout", "index.json"}

    def bundle(self, container: str, rootfs: Rootfs) -> None:
        """What a container's bundle says of its image."""
        directory = self.root / "app" / "containers" / container
        directory.mkdir(parents=True)
        descriptor = rootfs.image.descriptor
        image = {
            "reference": rootfs.image.reference,
            "descriptor": {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size},
        }
        (directory / "config.json").write_text(json.dumps({"image": image}))


@asynccontextmanager
async def shop_at(root: Path) -> AsyncIterator[Shop]:
    roots = Roots(str(root / "app"), str(root / "run"), str(root), str(root), str(root / "none"))
    async with opened(roots, "docker.io") as service:
        yield Shop(service, root)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_at(tmp_path) as found:
        yield found


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_an_oci_layout_is_loaded_unpacked_and_listed(shop: Shop, pack: Callable[[bytes], bytes]) -> None:
    event = await shop.load(pack(layout(("me/app:1", IMAGE))))
    assert event == ImageEvent(references=["docker.io/me/app:1"])
    (image,) = await shop.service.images()
    assert image == await shop.service.get("me/app:1")
    assert image.id == image.configuration.descriptor.digest.removeprefix("sha256:")
    assert image.configuration.creation_date == "2026-02-10T08:00:00Z"
    (variant,) = image.variants
    assert variant.platform == AMD64
    assert variant.config == IMAGE.config_document()
    assert variant.size == sum(len(blob) for blob in IMAGE.blobs.values())
    assert sum(name.startswith("layers/") and name.endswith(".squashfs") for name in shop.files()) == 2


async def test_a_docker_archive_becomes_oci(shop: Shop) -> None:
    image = ImageFiles([BASE, TOP, BASE], {"Cmd": ["x"]}, compress=False)
    event = await shop.load(docker_archive(["app:1", "other.io/app"], image))
    assert event.references == ["docker.io/library/app:1", "other.io/app:latest"]
    rootfs = await shop.rootfs("app:1")
    assert [layer.diff_id for layer in rootfs.layers] == image.config_document()["rootfs"]["diff_ids"]
    assert rootfs.config == {"Cmd": ["x"]}


async def test_members_may_come_in_any_order_through_a_slow_pipe(shop: Shop) -> None:
    reader, writer = os.pipe()
    data = layout(("app", IMAGE))

    def feed() -> None:
        with open(writer, "wb", buffering=0) as pipe:
            for at in range(0, len(data), 3000):
                pipe.write(data[at : at + 3000])

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        event = await shop.service.load(reader, False, lambda _: None)
    finally:
        os.close(reader)
        thread.join()
    assert event.references == ["docker.io/library/app:latest"]


async def test_an_image_without_a_name_is_untagged(shop: Shop) -> None:
    event = await shop.load(layout((None, IMAGE)))
    (name,) = event.references or []
    assert name == f"untagged@{(await shop.service.get(name)).configuration.descriptor.digest}"


async def test_prepare_gives_a_disk_of_the_layers_and_makes_nothing_twice(shop: Shop) -> None:
    await shop.load(layout(("app", IMAGE), ("app", ImageFiles([BASE], architecture="arm64"))))
    before = shop.files()
    rootfs = await shop.rootfs("app")
    assert (rootfs.platform, rootfs.config) == (AMD64, {"Cmd": ["/bin/sh"], "Env": ["A=b"]})
    assert [layer.partition for layer in rootfs.layers] == [1, 2]
    assert rootfs.image.reference == "docker.io/library/app:latest"
    assert os.path.exists(rootfs.disk)
    assert len((await shop.rootfs("app", Platform("linux", "arm64", "v8"))).layers) == 1
    assert shop.files() == before


async def test_prepare_of_what_is_not_there_says_so(shop: Shop) -> None:
    with pytest.raises(ContainerError, match="image with reference nothing") as raised:
        await shop.rootfs("nothing")
    assert raised.value.code is ErrorCode.NOT_FOUND
    await shop.load(layout(("app", IMAGE)))
    with pytest.raises(ContainerError, match=r"platform linux/arm64; available platforms: linux/amd64") as raised:
        await shop.rootfs("app", ARM64)
    assert raised.value.code is ErrorCode.UNSUPPORTED


async def test_callers_share_the_unpacking(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.load(layout(("app", IMAGE)))
    for path in (shop.root / "app/images/layers").iterdir():
        path.unlink()
    builds = []
    feed = LayerBuild.feed
    monkeypatch.setattr(LayerBuild, "feed", lambda self: (builds.append(self), feed(self))[1])
    results = await asyncio.gather(*(shop.rootfs("app") for _ in range(10)))
    assert all(result == results[0] for result in results)
    assert len(builds) == 2


async def test_layers_are_shared_between_images(shop: Shop) -> None:
    await shop.load(layout(("one", ImageFiles([BASE]))))
    await shop.load(layout(("two", ImageFiles([BASE, TOP]))))
    first, second = await shop.rootfs("one"), await shop.rootfs("two")
    assert first.layers[0] == second.layers[0]
    assert sum(name.endswith(".squashfs") for name in shop.files()) == 2


async def test_an_opaque_root_hides_the_layers_below(shop: Shop) -> None:
    await shop.load(layout(("app", ImageFiles([BASE, tar(member(".wh..wh..opq"), member("a", b"")), TOP]))))
    assert [layer.partition for layer in (await shop.rootfs("app")).layers] == [1, 2]
    await shop.service.delete([], every=True, force=False)
    assert shop.files() == set()


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        (member("../evil", b"x"), "../evil"),
        (member("/abs", b"x"), "/abs"),
        (link("l", "/etc/passwd"), "l"),
        (link("a/l", "../../x"), "a/l"),
    ],
)
async def test_rejected_paths_are_listed_and_skipped_by_force(shop: Shop, extra: object, path: str) -> None:
    archive = layout(("app", IMAGE), extra=(extra,))  # type: ignore[arg-type]
    with pytest.raises(ContainerError) as raised:
        await shop.load(archive)
    assert raised.value.message.startswith(f'cannot load tar image with rejected paths: ["{path}"];')
    assert shop.files() == set()
    event = await shop.load(archive, force=True)
    assert event == ImageEvent(references=["docker.io/library/app:latest"], rejected=[path])


def lying_blob() -> bytes:
    image = ImageFiles([BASE])
    image.manifest()
    key = next(key for key, data in image.blobs.items() if data.startswith(b"\x1f\x8b"))
    return tar(member(f"blobs/sha256/{key[7:]}", b"other"))


def lying_diff_id() -> bytes:
    image = ImageFiles([BASE])
    document = image.config_document()
    document["rootfs"]["diff_ids"] = ["sha256:" + "1" * 64]
    image.config_document = lambda: document  # type: ignore[method-assign]
    return layout(("app", image))


def missing_layer() -> bytes:
    image = ImageFiles([BASE])
    top = image.manifest()
    image.blobs = {key: data for key, data in image.blobs.items() if not data.startswith(b"\x1f\x8b")}
    index = json.dumps({"manifests": [top]}).encode()
    blobs = (member(f"blobs/sha256/{key[7:]}", data) for key, data in image.blobs.items())
    return tar(*blobs, member("index.json", index), member("oci-layout", b"{}"))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "neither an OCI image layout nor a docker archive"),
        (b"no tar at all" * 100, "tar header"),
        (layout(("app", IMAGE))[:3000], "ends in the middle"),
        (gzip.compress(layout(("app", IMAGE)))[:900], "gzip data ends too early"),
        (lying_blob(), "of the archive is corrupt"),
        (lying_diff_id(), "its contents have the digest"),
        (missing_layer(), "the archive is incomplete"),
        (layout(("app", ImageFiles([b"not a tar" * 100]))), "is corrupt: this is not a tar file: the tar header"),
        (tar(member("index.json", b"{}"), member("oci-layout", b"{}")), "index.json of the archive is malformed"),
        (tar(member("manifest.json", b"{}")), "manifest.json is not a list"),
        (tar(member("manifest.json", b'[{"Config": "../../etc/passwd"}]')), "which is missing"),
        (tar(member("manifest.json", b"[]")), "it has no images"),
    ],
)
async def test_a_bad_archive_is_refused_and_leaves_nothing(shop: Shop, archive: bytes, message: str) -> None:
    await shop.load(layout(("kept", ImageFiles([TOP]))))
    before = shop.files()
    with pytest.raises(ContainerError, match=message) as raised:
        await shop.load(archive)
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT
    assert (shop.files(), await shop.names()) == (before, ["docker.io/library/kept:latest"])


async def test_a_load_whose_caller_leaves_ends_and_leaves_nothing(shop: Shop) -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, layout(("app", IMAGE))[:2000])
        started = asyncio.Event()
        load = asyncio.create_task(shop.service.load(reader, False, lambda _: started.set()))
        await started.wait()
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(load, 60)
    finally:
        os.close(reader)
        os.close(writer)
    assert shop.files() == set()


async def test_a_layer_that_is_nearly_made_when_another_fails_does_not_stay(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, finishing = b"not a tar" * 100, threading.Event()
    feed, finish = LayerBuild.feed, LayerBuild.finish

    def late_feed(build: LayerBuild) -> LayerIndex:
        if build._diff_id == digest(bad):
            assert finishing.wait(60)
        return feed(build)

    def slow_finish(build: LayerBuild, below: Sequence[LayerIndex], chain: str) -> tuple[str, LayerIndex]:
        finishing.set()
        time.sleep(0.3)
        return finish(build, below, chain)

    monkeypatch.setattr(LayerBuild, "feed", late_feed)
    monkeypatch.setattr(LayerBuild, "finish", slow_finish)
    with pytest.raises(ContainerError, match="this is not a tar file"):
        await shop.load(layout(("app", ImageFiles([BASE, bad]))))
    assert shop.files() == set()
    await asyncio.sleep(0.5)
    assert shop.files() == set()


async def test_without_sqfstar_nothing_is_left(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ContainerError, match="install the package squashfs-tools"):
        await shop.load(layout(("app", IMAGE)))
    assert shop.files() == set()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (os.urandom(8 << 20), "cannot store blob"),
        (base64.b64encode(os.urandom(3 << 20)), "cannot make the squashfs"),  # gzip packs it better than lz4
    ],
)
async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "n", small], check=False).returncode:
        pytest.skip("cannot mount a small tmpfs")
    try:
        async with shop_at(small) as shop:
            shop.root = tmp_path  # for the archive
            archive = layout(("app", ImageFiles([tar(member("file", content))])))
            with pytest.raises(ContainerError, match=f"{message}.*No space left on device") as raised:
                await shop.load(archive)
            assert raised.value.code is ErrorCode.INTERNAL
            shop.root = small
            assert shop.files() == set()
    finally:
        subprocess.run(["umount", small], check=True)


async def test_tag_moves_a_name_and_drops_what_it_meant(shop: Shop) -> None:
    await shop.load(layout(("one", IMAGE), ("two", ImageFiles([tar(member("unique", b""))]))))
    assert await shop.service.tag("one", "two") == "docker.io/library/two:latest"
    first, second = await shop.service.images()
    assert first.id == second.id
    assert sum(name.endswith(".squashfs") for name in shop.files()) == 2
    with pytest.raises(ContainerError, match="image with reference gone"):
        await shop.service.tag("gone", "x")


async def test_an_image_is_found_by_name_and_digest(shop: Shop) -> None:
    await shop.load(layout(("app:1", IMAGE)))
    digest = (await shop.service.get("app:1")).configuration.descriptor.digest
    assert (await shop.service.get(f"app@{digest}")).configuration.name == "docker.io/library/app:1"
    for text in (f"other@{digest}", "app:2", "APP"):
        with pytest.raises(ContainerError, match=f"image with reference {text}"):
            await shop.service.get(text)


async def test_an_image_is_found_by_the_beginning_of_its_id(shop: Shop) -> None:
    await shop.load(layout(("app:1", IMAGE)))
    digest = (await shop.service.get("app:1")).configuration.descriptor.digest
    for text in (digest, digest[7:], digest[:15], digest[7:11]):
        assert (await shop.service.get(text)).configuration.name == "docker.io/library/app:1"
        assert (await shop.rootfs(text)).image.reference == "docker.io/library/app:1"
    with pytest.raises(ContainerError, match=f"image with reference {digest[7:10]}"):
        await shop.service.get(digest[7:10])
    await shop.load(layout((digest[7:19], ImageFiles([BASE]))))
    assert (await shop.service.get(digest[7:19])).configuration.name == f"docker.io/library/{digest[7:19]}:latest"


async def test_an_image_with_several_names_is_not_deleted_by_its_id(shop: Shop) -> None:
    await shop.load(layout(("one", IMAGE)))
    await shop.service.tag("one", "two")
    id = (await shop.service.get("one")).id[:12]
    result = await shop.service.delete([id], every=False, force=False)
    assert (result.deleted, list(result.failed)) == ([], [id])
    assert "docker.io/library/one:latest, docker.io/library/two:latest" in result.failed[id]
    await shop.service.delete(["two"], every=False, force=False)
    result = await shop.service.delete([id], every=False, force=False)
    assert result.deleted == ["docker.io/library/one:latest"]


async def test_saved_images_load_again_as_they_were(shop: Shop, tmp_path: Path) -> None:
    await shop.load(layout(("one", IMAGE), ("one", ImageFiles([BASE], architecture="arm64")), ("two:2", IMAGE)))
    images, files = await shop.service.images(), shop.files()
    target = tmp_path / "saved.tar"
    event = await shop.save(target, "one", "two:2", "one")
    assert event.references == ["docker.io/library/one:latest", "docker.io/library/two:2"]
    await shop.service.delete([], every=True, force=False)
    assert shop.files() == set()
    await shop.load(target.read_bytes())
    assert (await shop.service.images(), shop.files()) == (images, files)


async def test_one_platform_can_be_saved_alone(shop: Shop, tmp_path: Path) -> None:
    await shop.load(layout(("one", IMAGE), ("one", ImageFiles([BASE], architecture="arm64"))))
    target = tmp_path / "saved.tar"
    await shop.save(target, "one", platform=ARM64)
    await shop.service.delete([], every=True, force=False)
    await shop.load(target.read_bytes())
    assert [variant.platform for variant in (await shop.service.get("one")).variants] == [ARM64]
    with pytest.raises(ContainerError) as raised:
        await shop.save(target, "one", platform=AMD64)
    assert raised.value.message == (
        "image docker.io/library/one:latest has no content for platform linux/amd64; available platforms: linux/arm64"
    )


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
async def test_skopeo_reads_what_is_saved_and_its_archives_are_loaded(shop: Shop, tmp_path: Path) -> None:
    await shop.load(layout(("app:1", IMAGE)))
    target = tmp_path / "saved.tar"
    await shop.save(target, "app:1")
    for kind in ("oci-archive", "docker-archive"):
        copy = tmp_path / f"{kind}.tar"
        command = ["skopeo", "copy", "--insecure-policy", f"oci-archive:{target}", f"{kind}:{copy}:host.io/copy:{kind}"]
        subprocess.run(command, check=True, capture_output=True)
        event = await shop.load(copy.read_bytes())
        assert event.references == [f"host.io/copy:{kind}"]
        assert (await shop.rootfs(f"host.io/copy:{kind}")).layers == (await shop.rootfs("app:1")).layers


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
async def test_what_is_saved_is_a_docker_archive_as_well(shop: Shop, tmp_path: Path) -> None:
    foreign = ImageFiles([BASE], architecture="s390x")
    host = ImageFiles([BASE, TOP], architecture=host_architecture())
    await shop.load(layout(("both:1", foreign), ("both:1", host), ("foreign:1", foreign)))
    target = tmp_path / "saved.tar"
    await shop.save(target, "both:1", "foreign:1")
    for name, architecture, count in (("both:1", host_architecture(), 2), ("foreign:1", "s390x", 1)):
        command = ["skopeo", "inspect", f"docker-archive:{target}:docker.io/library/{name}"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert (found["Architecture"], len(found["Layers"])) == (architecture, count)
    copied = tmp_path / "copied.tar"
    command = [
        "skopeo",
        "copy",
        "--insecure-policy",
        f"docker-archive:{target}:both:1",
        f"oci-archive:{copied}:copied:1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    await shop.load(copied.read_bytes())
    assert [item.config for item in (await shop.service.get("copied:1")).variants] == [host.config_document()]


async def test_saving_to_a_reader_that_leaves_is_interrupted(shop: Shop) -> None:
    await shop.load(layout(("app", ImageFiles([tar(member("big", os.urandom(1 << 20)))]))))
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe, pytest.raises(ContainerError, match="its reader is gone") as raised:
        await shop.service.save(pipe.fileno(), ["app"], None, lambda _: None)
    assert raised.value.code is ErrorCode.INTERRUPTED


async def test_delete_removes_names_then_content(shop: Shop) -> None:
    await shop.load(layout(("one", IMAGE)))
    await shop.service.tag("one", "two")
    files = shop.files()
    result = await shop.service.delete(["one", "one", "gone"], every=False, force=False)
    assert result.deleted == ["docker.io/library/one:latest"]
    assert result.failed["gone"].startswith("image with reference gone not found;")
    assert (result.reclaimed, shop.files()) == (0, files)
    result = await shop.service.delete(["two", "gone"], every=False, force=True)
    assert (result.deleted, result.failed) == (["docker.io/library/two:latest"], {})
    assert result.reclaimed > 0
    assert shop.files() == set()


async def test_an_image_that_a_container_uses_stays(shop: Shop) -> None:
    await shop.load(layout(("one", IMAGE), ("two", ImageFiles([TOP]))))
    rootfs = await shop.rootfs("one")
    for container in ("web", "db"):
        shop.bundle(container, rootfs)
    result = await shop.service.delete([], every=True, force=True)
    assert result.deleted == ["docker.io/library/two:latest"]
    name = "docker.io/library/one:latest"
    assert result.failed == {name: f"image {name} is in use by containers: db, web; delete those first"}
    assert await shop.rootfs("one") == rootfs


async def test_the_content_of_a_container_stays_when_its_name_moves(shop: Shop) -> None:
    await shop.load(layout(("one", IMAGE), ("two", ImageFiles([tar(member("unique", b""))]))))
    rootfs = await shop.rootfs("two")
    shop.bundle("web", rootfs)
    await shop.service.tag("one", "two")
    await shop.service.delete(["one"], every=False, force=False)
    layers = [line.split('"')[1] for line in Path(rootfs.disk).read_text().splitlines() if "squashfs" in line]
    assert layers
    assert all((Path(rootfs.disk).parent / layer).exists() for layer in layers)


async def test_an_unreadable_bundle_keeps_every_image(shop: Shop) -> None:
    await shop.load(layout(("one", IMAGE)))
    (shop.root / "app/containers/broken").mkdir(parents=True)
    with pytest.raises(ContainerError, match=r"cannot tell which images are in use.*broken/config.json"):
        await shop.service.delete(["one"], every=False, force=True)
    assert await shop.names() == ["docker.io/library/one:latest"]


async def test_two_processes_cannot_have_one_store(shop: Shop) -> None:
    with pytest.raises(ContainerError, match="locked by another process"):
        async with shop_at(shop.root):
            pass


async def test_prepare_reports_progress_in_bytes(shop: Shop) -> None:
    await shop.load(layout(("one", ImageFiles([tar(member("big", os.urandom(1 << 20)))]))))
    for path in (shop.root / "app/images/layers").iterdir():
        path.unlink()
    seen: list[PrepareEvent] = []
    await shop.service.prepare("one", AMD64, seen.append)
    progress = [event.progress for event in seen if event.progress]
    assert [step.bytes for step in progress] == sorted(step.bytes or 0 for step in progress)
    assert progress[-1].bytes == progress[-1].total_bytes
