"""Volumes: what is made, what is refused, what stays."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from container.apiserver.background import Background
from container.apiserver.volumes import records
from container.apiserver.volumes.service import VolumesService
from container.errors import ContainerError
from container.model.mount import Mount
from container.model.volume import ANONYMOUS_LABEL, VolumeRequest
from container.paths import Roots

Users = dict[str, list[str]]


@pytest.fixture
def users() -> Users:
    """Which containers refer to a volume."""
    return {}


@pytest.fixture
async def volumes(tmp_path: Path, users: Users) -> AsyncIterator[VolumesService]:
    roots = Roots(*(str(tmp_path / name) for name in ("app", "run", "install", "log", "config")))

    async def users_of(name: str) -> list[str]:
        return users.get(name, [])

    async with Background() as tasks:
        service = VolumesService(records.entities(roots), users_of, tasks)
        await service.load()
        yield service


async def test_a_volume_is_a_sparse_disk_of_512_gibibytes(volumes: VolumesService) -> None:
    made = (await volumes.create(VolumeRequest("db", labels={"a": "b"}))).configuration
    status = Path(made.source).stat()
    assert made.size_in_bytes == status.st_size == 512 << 30
    assert status.st_blocks * 512 < 4 << 20
    assert (made.driver, made.format, made.labels, made.options) == ("local", "ext4", {"a": "b"}, {})
    assert [volume.id for volume in await volumes.list()] == ["db"]


async def test_a_name_may_be_as_long_as_a_file_system_takes(volumes: VolumesService) -> None:
    await volumes.create(VolumeRequest("x" * 255, {"type": "directory"}))
    await volumes.delete("x" * 255)
    assert await volumes.list() == []


async def test_options_of_a_volume(volumes: VolumesService) -> None:
    options = {"size": "64m", "journal": "writeback:8m"}
    made = (await volumes.create(VolumeRequest("db", options))).configuration
    assert made.size_in_bytes == 64 << 20
    assert made.options == options
    shared = (await volumes.create(VolumeRequest("shared", {"type": "directory"}))).configuration
    assert Path(shared.source).is_dir()
    assert (shared.format, shared.size_in_bytes) == ("directory", None)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("-x", {}, "invalid volume name '-x': must match ^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
        ("a/b", {}, "invalid volume name 'a/b': must match ^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
        ("a", {"size": "1000k"}, "storage error: volume size too small: minimum 1MiB"),
        ("a", {"size": "17t"}, "storage error: volume size too large: maximum 16TiB"),
        (
            "a",
            {"journal": "fast"},
            "storage error: invalid journal mode 'fast': must be writeback, ordered, or journal",
        ),
        ("a", {"size": "much"}, "invalid size"),
        ("a", {"size": "1m", "journal": "ordered:64m"}, "storage error: a journal has at least 4MiB and at most half"),
        ("a", {"type": "directory", "size": "1g"}, "a volume of type directory has neither size nor journal"),
        ("a", {"speed": "9"}, "unknown volume option 'speed'"),
        ("db", {}, "volume 'db' already exists"),
    ],
)
async def test_volumes_that_are_refused(
    volumes: VolumesService, name: str, options: dict[str, str], message: str
) -> None:
    await volumes.create(VolumeRequest("db", {"size": "1m"}))
    with pytest.raises(ContainerError) as caught:
        await volumes.create(VolumeRequest(name, options))
    assert caught.value.message.startswith(message)
    assert [volume.id for volume in await volumes.list()] == ["db"]


async def test_a_volume_that_a_container_refers_to_stays(volumes: VolumesService, users: Users) -> None:
    for name in ("used", "unused"):
        await volumes.create(VolumeRequest(name, {"size": "1m"}))
    users["used"] = ["web"]
    text = "volume 'used' is currently in use and cannot be accessed by another container, or deleted"
    with pytest.raises(ContainerError, match=text):
        await volumes.delete("used")
    result = await volumes.prune()
    assert (result.deleted, result.failed) == (["unused"], {})
    assert result.reclaimed > 0
    with pytest.raises(ContainerError, match="volume 'unused' not found"):
        await volumes.delete("unused")


async def test_mounts_make_the_volumes_that_are_missing(volumes: VolumesService) -> None:
    await volumes.create(VolumeRequest("old", {"size": "1m"}))
    mounts = [
        Mount("tmpfs", "tmpfs", "/t"),
        Mount("volume", "old", "/o", detail={"name": "old"}),
        Mount("volume", "new", "/n", ["ro"], {"name": "new"}),
        Mount("volume", "", "/a", detail={"name": "0-1", "anonymous": True}),
    ]
    resolved, made = await volumes.resolve(mounts)
    assert made == ["new"]
    assert resolved[0] == mounts[0]
    assert all(Path(mount.source).is_file() for mount in resolved[1:])
    assert resolved[2].options == ["ro"]
    assert resolved[2].detail == {"name": "new", "format": "ext4", "cache": {"on": {}}, "sync": {"fsync": {}}}
    anonymous = [item.id for item in await volumes.list() if ANONYMOUS_LABEL in item.configuration.labels]
    assert anonymous == ["0-1"]


async def test_prune_gives_back_what_the_disks_that_stay_do_not_use(volumes: VolumesService, users: Users) -> None:
    image = Path((await volumes.create(VolumeRequest("kept", {"size": "1g"}))).configuration.source)
    users["kept"] = ["stopped"]
    with image.open("r+b") as file:
        file.seek(100 << 20)
        file.write(b"x" * (4 << 20))
    result = await volumes.prune()
    assert result.deleted == []
    assert result.reclaimed >= 4 << 20
    assert image.stat().st_blocks * 512 < 4 << 20


async def test_what_volumes_take_is_measured_as_it_is_now(volumes: VolumesService) -> None:
    """A file with two names counts once."""
    shared = (await volumes.create(VolumeRequest("shared", {"type": "directory"}))).configuration
    await volumes.create(VolumeRequest("disk", {"size": "64m"}))
    before = await volumes.sizes()
    assert before["shared"] < before["disk"] < 16 << 20
    file = Path(shared.source, "file")
    file.write_bytes(b"x" * (1 << 20))
    file.with_name("again").hardlink_to(file)
    assert 1 << 20 <= (await volumes.sizes())["shared"] - before["shared"] < 2 << 20
