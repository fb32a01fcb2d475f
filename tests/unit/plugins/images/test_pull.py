"""Pulls from a registry that behaves, and from one that does not: a right image, or a clear error and no image."""

import asyncio
import errno
import gzip
import os
import random
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.fakeregistry import FakeRegistry, body, cut, hang, status, trickle
from support.ociarchive import ImageFiles, digest, member, tar

from container.errors import ContainerError, ErrorCode
from container.model.event import ImageEvent
from container.model.image import Platform
from container.oci.registry.credentials import Sources
from container.oci.registry.endpoints import HostSettings, Settings
from container.oci.registry.transport import Patience
from container.paths import Roots
from container.plugins.images.service import ImageService, opened

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
NOISE = random.Random(1).randbytes(600_000)
BASE = tar(member("bin/sh", NOISE), member("etc/motd", b"one"))
TOP = tar(member("etc/motd", b"two"))
BLOBS = "GET /v2/app/blobs/"
QUICK = Patience(connect=30, attempts=4, first_delay=0.02, longest_delay=0.05, longest_retry_after=2)
HASTY = replace(QUICK, idle=0.5)


@dataclass
class Shop:
    """A service on a root of its own, and shorthands."""

    service: ImageService
    root: Path

    async def pull(self, reference: str, platform: Platform | None = None, concurrent: int = 3) -> list[ImageEvent]:
        events: list[ImageEvent] = []
        events.append(await self.service.pull(reference, platform, "auto", concurrent, events.append))
        return events

    async def names(self) -> list[str]:
        return [image.configuration.name for image in await self.service.images()]

    async def content(self, reference: str, path: str) -> bytes:
        """A file of the top layer that has it, as unsquashfs sees it."""
        event = await self.service.prepare(reference, AMD64, lambda _: None)
        assert event.rootfs is not None
        for layer in reversed(event.rootfs.layers):
            (squashfs,) = (self.root / "app/images/layers").glob(f"{layer.diff_id[7:]}-*.squashfs")
            done = subprocess.run(["unsquashfs", "-cat", str(squashfs), path], capture_output=True, check=False)
            if done.returncode == 0:
                return done.stdout
        raise AssertionError(path)

    def files(self, directory: str) -> list[str]:
        return sorted(os.listdir(self.root / "app/images" / directory))


@asynccontextmanager
async def shop_at(
    root: Path, settings: Settings | None = None, sources: Sources | None = None, patience: Patience = QUICK
) -> AsyncIterator[Shop]:
    roots = Roots(str(root / "app"), str(root / "run"), str(root), str(root), str(root / "none"))
    sources = sources or Sources(str(root / "config.json"))
    async with opened(roots, "docker.io", settings, sources, patience) as service:
        yield Shop(service, root)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_at(tmp_path) as found:
        yield found


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        yield found


def image(**fields: Any) -> ImageFiles:
    return ImageFiles([BASE, TOP], {"Cmd": ["/bin/sh"]}, **fields)


def layer_digest(layer: bytes) -> str:
    return digest(gzip.compress(layer, 1, mtime=0))


async def under_way(shop: Shop, reference: str) -> "asyncio.Task[ImageEvent]":
    """A pull that has begun all its downloads."""
    begun = asyncio.Event()

    def see(event: ImageEvent) -> None:
        if event.progress is not None and event.progress.bytes:
            begun.set()

    task = asyncio.create_task(shop.service.pull(reference, None, "auto", 3, see))
    await begun.wait()
    return task


async def refused(shop: Shop, reference: str, *arguments: Any) -> ContainerError:
    with pytest.raises(ContainerError) as caught:
        await shop.pull(reference, *arguments)
    assert await shop.names() == []
    return caught.value


async def test_an_image_is_fetched_unpacked_and_named(shop: Shop, registry: FakeRegistry) -> None:
    reference = registry.add("app", "1", image())
    events = await shop.pull(reference)
    assert events[-1].references == [reference]
    assert await shop.names() == [reference]
    assert await shop.content(reference, "bin/sh") == NOISE
    assert await shop.content(reference, "etc/motd") == b"two"
    assert shop.files("partial") == []
    last = events[-2].progress
    assert last is not None
    assert last.parts is not None
    assert (last.step, last.bytes, {part.state for part in last.parts}) == (2, last.total_bytes, {"done"})


async def test_what_is_here_is_not_fetched_again(shop: Shop, registry: FakeRegistry) -> None:
    await shop.pull(registry.add("app", "1", image()))
    registry.seen.clear()
    await shop.pull(registry.add("app", "1", image()))
    assert registry.count("GET .*/blobs/") == 0
    other = ImageFiles([BASE, tar(member("etc/motd", b"three"))])
    await shop.pull(registry.add("other", "1", other))
    assert registry.count(f"blobs/{layer_digest(BASE)}") == 0
    assert await shop.content(f"{registry.host}/other:1", "etc/motd") == b"three"


async def test_two_pulls_share_the_work(shop: Shop, registry: FakeRegistry) -> None:
    registry.pace = 0.02
    reference = registry.add("app", "1", image())
    await asyncio.gather(shop.pull(reference), shop.pull(reference), shop.pull(reference))
    assert registry.count(f"GET .*{layer_digest(BASE)}") == 1


async def test_a_pull_goes_on_when_the_one_that_began_it_is_cancelled(shop: Shop, registry: FakeRegistry) -> None:
    go_on = threading.Event()
    registry.fail(BLOBS + layer_digest(BASE), trickle(go_on, 100_000))
    reference = registry.add("app", "1", image())
    first = await under_way(shop, reference)
    second = await under_way(shop, reference)
    first.cancel()
    go_on.set()
    await second
    assert registry.count(f"GET .*{layer_digest(BASE)}") == 1
    assert await shop.content(reference, "bin/sh") == NOISE


async def test_a_cancelled_pull_leaves_no_image_and_is_taken_up(tmp_path: Path, registry: FakeRegistry) -> None:
    go_on = threading.Event()
    registry.fail(BLOBS + layer_digest(BASE), trickle(go_on, 100_000))
    reference = registry.add("app", "1", image())
    async with shop_at(tmp_path) as shop:
        task = await under_way(shop, reference)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await shop.names() == []
        assert shop.files("blobs/sha256") == shop.files("layers") == shop.files("ingest") == []
    go_on.set()
    async with shop_at(tmp_path) as shop:
        await shop.pull(reference)
        assert await shop.content(reference, "bin/sh") == NOISE


async def test_the_registry_dies_in_the_middle_of_a_blob_and_comes_back(shop: Shop, registry: FakeRegistry) -> None:
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", cut(250_000), times=2)
    await shop.pull(registry.add("app", "1", image()))
    ranges = [seen.headers.get("Range") for seen in registry.requests(f"{BLOBS}{layer_digest(BASE)}")]
    assert len(ranges) == 3
    assert ranges[0] is None
    assert all(item is not None and item.startswith("bytes=") for item in ranges[1:])
    assert await shop.content(f"{registry.host}/app:1", "bin/sh") == NOISE


async def test_it_stays_dead_and_the_next_pull_goes_on_from_there(tmp_path: Path, registry: FakeRegistry) -> None:
    reference = registry.add("app", "1", image())
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", cut(250_000), times=1)
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", cut(0), times=20)
    async with shop_at(tmp_path) as shop:
        error = await refused(shop, reference)
        assert error.code is ErrorCode.INTERRUPTED
        assert f"registry {registry.host} over http failed" in error.message
        assert layer_digest(BASE)[7:] in shop.files("partial")
    registry.faults.clear()
    registry.seen.clear()
    async with shop_at(tmp_path) as shop:
        await shop.pull(reference)
        (seen,) = registry.requests(f"{BLOBS}{layer_digest(BASE)}")
        assert int(seen.headers["Range"][6:-1]) > 100_000
        assert await shop.content(reference, "bin/sh") == NOISE


async def test_a_registry_without_ranges_sends_it_again(shop: Shop, registry: FakeRegistry) -> None:
    registry.ranges = False
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", cut(250_000))
    reference = registry.add("app", "1", image())
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", body(bytes))
    await shop.pull(reference)
    assert await shop.content(reference, "bin/sh") == NOISE


async def test_what_was_kept_is_checked_and_fetched_anew_when_it_is_wrong(shop: Shop, registry: FakeRegistry) -> None:
    reference = registry.add("app", "1", image())
    blob = gzip.compress(BASE, 1, mtime=0)
    path = shop.root / "app/images/partial" / digest(blob)[7:]
    for kept in (blob[:50_000] + bytes(50_000), bytes(len(blob)), blob + b"more"):
        path.write_bytes(kept)
        await shop.pull(reference)
        assert await shop.content(reference, "bin/sh") == NOISE
        await shop.service.delete([reference], every=False, force=False)


async def test_errors_of_the_server_are_tried_again(shop: Shop, registry: FakeRegistry) -> None:
    registry.fail("GET .*/manifests/", status(500), times=2)
    registry.fail(BLOBS, status(503), times=2)
    await shop.pull(registry.add("app", "1", image()))


async def test_a_document_that_breaks_off_is_fetched_again(shop: Shop, registry: FakeRegistry) -> None:
    reference = registry.add("app", "1", image())
    registry.fail(BLOBS, cut(10), 2)  # the config is the first blob to be asked for
    await shop.pull(reference)
    assert await shop.content(reference, "bin/sh") == NOISE


async def test_a_server_that_goes_on_failing_is_reported(shop: Shop, registry: FakeRegistry) -> None:
    registry.fail(f"{BLOBS}{layer_digest(TOP)}", status(502, b"<html>bad</html>"), times=50)
    error = await refused(shop, registry.add("app", "1", image()))
    url = f"http://{registry.host}/v2/app/blobs/{layer_digest(TOP)}"
    assert error.message == f"HTTP request to {url} failed with response: 502 Bad Gateway. Reason: Unknown"


async def test_retry_after_is_heeded(shop: Shop, registry: FakeRegistry) -> None:
    registry.fail("GET .*/manifests/1", status(429, Retry_After="1"))
    started = asyncio.get_running_loop().time()
    await shop.pull(registry.add("app", "1", image()))
    assert asyncio.get_running_loop().time() - started >= 1


async def test_too_long_a_retry_after_is_an_error(shop: Shop, registry: FakeRegistry) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}'
    registry.fail("GET .*/manifests/1", status(429, body, Retry_After="3600"))
    error = await refused(shop, registry.add("app", "1", image()))
    assert error.message.endswith(
        "429 Too Many Requests. Reason: TOOMANYREQUESTS: pull rate limit (it says to try again in 3600 seconds)"
    )
    assert registry.count("manifests") == 1


@pytest.mark.parametrize(
    "change",
    [lambda data: bytes(len(data)), lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[::-1]],
    ids=["zeros", "one bit", "reversed"],
)
async def test_wrong_bytes_never_become_an_image(shop: Shop, registry: FakeRegistry, change: Any) -> None:
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", body(change), times=50)
    error = await refused(shop, registry.add("app", "1", image()))
    assert error.code is ErrorCode.INVALID_ARGUMENT
    assert "is corrupt" in error.message
    assert layer_digest(BASE)[7:] not in shop.files("partial")
    registry.faults.clear()
    await shop.pull(f"{registry.host}/app:1")


async def test_a_right_blob_with_the_wrong_contents_is_refused(shop: Shop, registry: FakeRegistry) -> None:
    files = image()
    files.layers, right = [BASE, TOP], files.config_document()
    files.layers = [TOP, BASE]
    files.config_document = lambda: right  # type: ignore[method-assign]
    error = await refused(shop, registry.add("app", "1", files))
    assert "its contents have the digest" in error.message
    assert shop.files("layers") == []


@pytest.mark.parametrize("change", [lambda data: data[:1000], lambda data: b""], ids=["some", "none"])
async def test_short_bytes_are_an_error(shop: Shop, registry: FakeRegistry, change: Any) -> None:
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", body(change), times=50)
    error = await refused(shop, registry.add("app", "1", image()))
    assert "ended after" in error.message


async def test_too_many_bytes_are_an_error(shop: Shop, registry: FakeRegistry) -> None:
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", body(lambda data: data + b"x"), times=50)
    error = await refused(shop, registry.add("app", "1", image()))
    assert "too many bytes" in error.message


async def test_a_registry_that_hangs_is_left_after_a_while(tmp_path: Path, registry: FakeRegistry) -> None:
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", hang(1000), times=50)
    async with shop_at(tmp_path, patience=HASTY) as shop:
        error = await refused(shop, registry.add("app", "1", image()))
    assert error.code is ErrorCode.TIMEOUT
    assert error.message.endswith("no data for 0.5 seconds")


async def test_a_hang_is_survived(tmp_path: Path, registry: FakeRegistry) -> None:
    registry.fail(f"{BLOBS}{layer_digest(BASE)}", hang(300_000))
    async with shop_at(tmp_path, patience=replace(QUICK, idle=3, attempts=10)) as shop:
        await shop.pull(registry.add("app", "1", image()))


async def test_nobody_listens(shop: Shop, registry: FakeRegistry) -> None:
    error = await refused(shop, "127.0.0.1:1/app:1")
    assert error.message.startswith("connection to registry 127.0.0.1:1 over http failed: Connection refused; check")


async def test_a_full_disk_is_reported_and_leaves_room(
    shop: Shop, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def full(fd: int, data: Any, offset: int) -> int:
        if layer_digest(BASE)[7:] in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    error = await refused(shop, registry.add("app", "1", image()))
    assert error.message.startswith(f"cannot store blob {layer_digest(BASE)}: No space left on device; free some")
    assert layer_digest(BASE)[7:] not in shop.files("partial")


async def test_an_image_that_is_not_there(shop: Shop, registry: FakeRegistry) -> None:
    error = await refused(shop, f"{registry.host}/app:2")
    assert error.code is ErrorCode.NOT_FOUND
    url = f"http://{registry.host}/v2/app/manifests/2"
    assert error.message == (
        f"HTTP request to {url} failed with response: 404 Not Found. Reason: MANIFEST_UNKNOWN: manifest unknown"
    )


async def test_only_the_wanted_platform_is_fetched_and_the_index_is_kept(shop: Shop, registry: FakeRegistry) -> None:
    arm = ImageFiles([tar(member("arm", b"arm" * 1000))], architecture="arm64")
    reference = registry.add("app", "1", image(), arm)
    await shop.pull(reference, AMD64)
    (found,) = await shop.service.images()
    assert [variant.platform for variant in found.variants] == [AMD64]
    index = registry.manifests["app", "1"][1]
    assert found.id == digest(index)[7:]
    assert registry.count(layer_digest(arm.layers[0])) == 0
    error = (await asyncio.gather(shop.pull(reference, Platform("linux", "s390x")), return_exceptions=True))[0]
    assert isinstance(error, ContainerError)
    assert error.message == (
        f"image {reference} has no content for platform linux/s390x; available platforms: linux/amd64, linux/arm64"
    )
    await shop.pull(reference)
    (found,) = await shop.service.images()
    assert [variant.platform for variant in found.variants] == [AMD64, ARM64]


async def test_an_image_that_is_not_here_is_pulled_when_it_is_needed(shop: Shop, registry: FakeRegistry) -> None:
    arm = ImageFiles([tar(member("arm", b"arm" * 1000))], architecture="arm64")
    reference = registry.add("app", "1", image(), arm)
    for platform in (AMD64, ARM64, AMD64):
        event = await shop.service.prepare(reference, platform, lambda _: None, "auto", 3)
        assert event.rootfs is not None
        assert event.rootfs.platform == platform
    assert registry.count("GET .*/manifests/1$") == 2


async def test_by_digest_only_that_content_will_do(shop: Shop, registry: FakeRegistry) -> None:
    registry.add("app", "1", image())
    name = digest(registry.manifests["app", "1"][1])
    await shop.pull(f"{registry.host}/app@{name}")
    assert await shop.names() == [f"{registry.host}/app@{name}"]
    await shop.service.delete([f"{registry.host}/app@{name}"], every=False, force=False)
    other = ImageFiles([TOP])
    registry.manifests["app", name] = (
        "application/vnd.oci.image.manifest.v1+json",
        other.blobs[other.manifest()["digest"]],
    )
    error = await refused(shop, f"{registry.host}/app@{name}")
    assert "is corrupt" in error.message


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "is foreign"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "is foreign"),
        ("application/vnd.oci.image.layer.v1.tar+encrypted", "cannot be unpacked"),
    ],
)
async def test_layers_that_cannot_be_used_are_refused(
    shop: Shop, registry: FakeRegistry, media_type: str, text: str
) -> None:
    files = image()
    add = files.add
    files.add = lambda data, kind: add(data, media_type if "layer" in kind else kind)  # type: ignore[method-assign]
    error = await refused(shop, registry.add("app", "1", files))
    assert error.code is ErrorCode.UNSUPPORTED
    assert text in error.message


async def test_docker_manifests_zstd_plain_and_empty_layers(shop: Shop, registry: FakeRegistry) -> None:
    zstd = subprocess.run(["zstd", "-c"], input=BASE, capture_output=True, check=True).stdout
    files = ImageFiles([BASE, TOP, tar()])
    packed = {digest(BASE): zstd, digest(TOP): TOP, digest(tar()): gzip.compress(tar(), mtime=0)}
    kinds = {
        digest(BASE): "application/vnd.oci.image.layer.v1.tar+zstd",
        digest(TOP): "application/vnd.docker.image.rootfs.diff.tar",
        digest(tar()): "application/vnd.docker.image.rootfs.diff.tar.gzip",
    }
    config = files.add(files.config_document(), "application/vnd.docker.container.image.v1+json")
    layers = [files.add(packed[digest(layer)], kinds[digest(layer)]) for layer in files.layers]
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    descriptor = files.add({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}, kind)
    files.manifest = lambda: {**descriptor, "platform": {"os": "linux", "architecture": "amd64"}}  # type: ignore[method-assign]
    reference = registry.add("app", "1", files)
    await shop.pull(reference)
    assert await shop.content(reference, "bin/sh") == NOISE
    assert await shop.content(reference, "etc/motd") == b"two"


async def test_a_schema_1_manifest_is_refused(shop: Shop, registry: FakeRegistry) -> None:
    registry.manifests["app", "1"] = (
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        b'{"schemaVersion":1}',
    )
    error = await refused(shop, f"{registry.host}/app:1")
    assert "schema 1" in error.message


async def test_a_mirror_is_asked_first_and_may_fail(tmp_path: Path, registry: FakeRegistry) -> None:
    with FakeRegistry() as mirror:
        settings = Settings({registry.host: HostSettings(["127.0.0.1:1", f"http://{mirror.host}/v2"])})
        async with shop_at(tmp_path, settings) as shop:
            mirror.add("app", "1", image())
            mirror.fail(f"{BLOBS}{layer_digest(TOP)}", status(404))
            reference = registry.add("app", "1", image())
            await shop.pull(reference)
            assert mirror.count(f"{BLOBS}{layer_digest(BASE)}") == 1
            assert [seen.path for seen in registry.requests(BLOBS)] == [f"/v2/app/blobs/{layer_digest(TOP)}"]


async def test_a_pull_that_fails_leaves_the_name_as_it_was(shop: Shop, registry: FakeRegistry) -> None:
    reference = registry.add("app", "1", image())
    await shop.pull(reference)
    registry.add("app", "1", ImageFiles([BASE, tar(member("etc/motd", NOISE[::-1]))]))
    registry.fail(BLOBS, status(404), times=50)
    with pytest.raises(ContainerError):
        await shop.pull(reference)
    assert await shop.content(reference, "etc/motd") == b"two"
    registry.faults.clear()
    await shop.pull(reference)
    assert await shop.content(reference, "etc/motd") == NOISE[::-1]


async def test_old_unfinished_blobs_expire(shop: Shop, registry: FakeRegistry) -> None:
    old, young = (shop.root / "app/images/partial" / (letter * 64) for letter in "ab")
    for path, age in ((old, 90_000), (young, 100)):
        path.write_bytes(b"x")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    await shop.pull(registry.add("app", "1", image()))
    assert shop.files("partial") == ["b" * 64]


async def test_prune_removes_unfinished_blobs_but_those_of_a_pull_under_way(shop: Shop, registry: FakeRegistry) -> None:
    left = shop.root / "app/images/partial" / ("a" * 64)
    left.write_bytes(bytes(100_000))
    reference = registry.add("app", "1", image())
    go_on = threading.Event()
    registry.fail(BLOBS + layer_digest(BASE), trickle(go_on, 300_000))
    pull = await under_way(shop, reference)
    while layer_digest(BASE)[7:] not in shop.files("partial"):
        await asyncio.sleep(0.01)
    before = await shop.service.disk_usage()
    pruned = await shop.service.prune(every=True)
    after = await shop.service.disk_usage()
    assert not left.exists()
    assert layer_digest(BASE)[7:] in shop.files("partial")
    assert pruned.reclaimed >= 100_000
    assert before.reclaimable >= 100_000 > after.reclaimable
    go_on.set()
    await pull
    assert await shop.content(reference, "bin/sh") == NOISE
    assert shop.files("partial") == []
