"""Volumes are locked: disks for a run, directories while they may be filled."""

import asyncio
import os
from pathlib import Path

import pytest
from support.launches import launch

from container.errors import ContainerError, ErrorCode
from container.model.mount import Mount
from container.plugins.runtime import storage
from container.plugins.runtime.storage import FILLING, Storage, unprepared
from container.store import ext4


async def test_first_uses_of_a_directory_follow_each_other(tmp_path: Path) -> None:
    """Whatever the order in which containers name their volumes."""
    volumes = {name: str(tmp_path / name / "data") for name in ("one", "two")}
    for path in volumes.values():
        os.makedirs(path)
    inside = 0

    async def use(names: list[str]) -> None:
        nonlocal inside
        async with Storage(directories={name: volumes[name] for name in names}).first_use(60):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.05)
            inside -= 1

    async with asyncio.timeout(60):
        await asyncio.gather(use(["one", "two"]), use(["two", "one"]), use(["two"]))


async def test_a_first_use_that_does_not_end_is_waited_for_so_long_only(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "data")
    shared = Storage(directories={"shared": str(tmp_path / "data")})
    async with shared.first_use(0):
        with pytest.raises(ContainerError, match="cannot use volume 'shared'") as caught:
            async with shared.first_use(0.2):
                pass
    assert caught.value.code is ErrorCode.INVALID_STATE
    async with shared.first_use(0):
        pass


async def test_a_disk_is_one_machines_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "volume.img"
    image.write_bytes(b"")
    mount = Mount("volume", str(image), "/data", detail={"name": "only", "format": "ext4"})
    configuration = launch(mounts=[mount]).configuration
    monkeypatch.setattr(storage, "LOCK_PATIENCE", 0.2)
    async with storage.attach(configuration, str(tmp_path)):
        with pytest.raises(ContainerError, match="volume 'only' is currently in use by another virtual machine"):
            async with storage.attach(configuration, str(tmp_path)):
                pass
    async with storage.attach(configuration, str(tmp_path)) as attached:
        assert [disk.path for disk in attached.disks] == [str(image)]


def test_what_must_be_written_to_before_it_is_read_only(tmp_path: Path) -> None:
    """A disk that is new, a directory that is empty or half full; not what the container may write to anyway."""

    def mount(name: str, *options: str, format: str = "directory") -> Mount:
        return Mount("volume", str(tmp_path / name), f"/{name}", list(options), {"name": name, "format": format})

    ext4.make(str(tmp_path / "new"), 64 << 20)
    for name, file in (("empty", None), ("half", FILLING), ("full", "file")):
        (tmp_path / name).mkdir()
        if file is not None:
            (tmp_path / name / file).touch()
    found = unprepared(
        [
            mount("new", "ro", format="ext4"),
            mount("empty", "ro"),
            mount("half", "z", "ro"),
            mount("full", "ro"),
            mount("gone", "ro"),
        ]
    )
    assert found == [mount("new", format="ext4"), mount("empty"), mount("half", "z")]
    assert unprepared([mount("empty", "ro"), mount("empty"), mount("half", "ro", "nocopy")]) == []
    assert unprepared([Mount("virtiofs", str(tmp_path / "empty"), "/x", ["ro"])]) == []


@pytest.mark.parametrize(
    ("kind", "options", "filled"),
    [("volume", [], True), ("volume", ["nocopy"], False), ("virtiofs", [], False), ("tmpfs", [], False)],
)
async def test_only_volumes_may_be_filled(tmp_path: Path, kind: str, options: list[str], filled: bool) -> None:
    (tmp_path / "data").mkdir()
    mount = Mount(kind, str(tmp_path / "data"), "/data", options, {"name": "v", "format": "directory"})
    async with storage.attach(launch(mounts=[mount]).configuration, str(tmp_path)) as attached:
        assert attached.may_fill is filled
