"""Volumes as the real agent handles them: what it refuses, first use, changes of the host that are replayed."""

import asyncio
import contextlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from container.guest.client import GuestClient
from container.guest.process import GuestError
from container.guest.spec import ContainerSpec, RootfsSpec, VolumeSpec
from container.model.mount import Mount

from .conftest import Connect, process

pytestmark = pytest.mark.timeout(60)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PRETENDED = 10**19  # nanoseconds: guest/include/replay.h has later times, ext4 the latest that it can have
MARK = ".container-filling"


def volume(tmp_path: Path, name: str) -> Path:
    """The directory where the agent has the volume `name` mounted: here it is an ordinary one."""
    path = tmp_path / "state0/v" / name
    path.mkdir(parents=True)
    return path


async def test_volumes_that_cannot_be_mounted_are_refused_with_the_reason(plain: Connect) -> None:
    async with plain() as guest:
        for name in ("", "../x", "Upper", "x" * 40):
            with pytest.raises(GuestError, match="cannot be called"):
                await guest.mount_volumes([VolumeSpec(name, "block", "vol-1")])
        with pytest.raises(GuestError, match="no volumes of type nfs"):
            await guest.mount_volumes([VolumeSpec("a", "nfs", "x")])
        with pytest.raises(GuestError, match="no-such-disk"):
            await guest.mount_volumes([VolumeSpec("b", "block", "no-such-disk")], timeout=30)


async def run(isolated: Connect, root: Path, mount: Mount, script: str) -> str:
    """Output of a container's first process, with one volume bound."""
    async with isolated() as guest:
        await guest.mount_rootfs(RootfsSpec(directory=str(root), upper=None))
        spec = ContainerSpec(hostname="test", mounts=[mount])
        started = await guest.start_init("c", process("sh", "-c", script), spec)
        assert started.stdout is not None
        output = b""
        while data := await started.stdout.read():
            output += data
        await started.wait()
        return output.decode()


def bound(name: str, where: str, *, path: str = "", populate: bool = True, options: tuple[str, ...] = ()) -> Mount:
    return Mount("bind", name, where, list(options), {"path": path, "populate": populate})


@pytest.fixture
def filled_root(busybox_root: Path) -> Path:
    """An image with a directory of all sorts."""
    data = busybox_root / "data"
    if not data.exists():
        (data / "sub").mkdir(parents=True)
        (data / "one").write_text("one")
        (data / "sub/same").hardlink_to(data / "one")
        (data / "link").symlink_to("one")
        (data / "again").hardlink_to(data / "one")
        os.mkfifo(data / "pipe", 0o640)
        (data / "sub").chmod(0o1777)
        os.chown(data / "one", 5, 6)
        (data / "one").chmod(0o4711)
        os.utime(data / "sub", ns=(10**18, 10**18))
        os.utime(data, ns=(10**18, 10**18))
    return data.parent


def check_filled(target: Path) -> None:
    assert sorted(path.name for path in target.rglob("*")) == ["again", "link", "one", "pipe", "same", "sub"]
    one = (target / "one").stat()
    assert (one.st_uid, one.st_gid, one.st_mode & 0o7777, one.st_nlink) == (5, 6, 0o4711, 3)
    assert (target / "sub/same").stat().st_ino == (target / "again").stat().st_ino == one.st_ino
    assert os.readlink(target / "link") == "one"
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert (target / "sub").stat().st_mode & 0o7777 == 0o1777
    assert {path.stat().st_mtime_ns for path in (target, target / "sub")} == {10**18}


async def test_an_empty_volume_is_filled_with_hard_links_as_such(
    isolated: Connect, filled_root: Path, tmp_path: Path
) -> None:
    target = volume(tmp_path, "data")
    assert await run(isolated, filled_root, bound("data", "/data"), "cat /data/again; rm -f /data/x") == "one"
    check_filled(target)


async def test_a_first_use_that_was_cut_is_completed_by_the_next(
    isolated: Connect, filled_root: Path, tmp_path: Path
) -> None:
    target = volume(tmp_path, "data")
    for name in (MARK, "one", "link"):
        (target / name).write_text("half of i")
    (target / "sub").mkdir(mode=0o700)
    await run(isolated, filled_root, bound("data", "/data"), "true")
    check_filled(target)


async def test_a_volume_with_files_is_left_alone(isolated: Connect, filled_root: Path, tmp_path: Path) -> None:
    target = volume(tmp_path, "data")
    (target / "mine").write_text("mine")
    assert await run(isolated, filled_root, bound("data", "/data"), "ls /data") == "mine\n"
    assert os.listdir(target) == ["mine"]


@needs_root
async def test_a_volume_can_be_filled_without_a_container(plain: Connect, filled_root: Path, tmp_path: Path) -> None:
    target = volume(tmp_path, "data")
    async with plain() as guest:
        with pytest.raises(GuestError, match="no root file system"):
            await guest.fill_volume("data", "/data")
        await guest.mount_rootfs(RootfsSpec(directory=str(filled_root), upper=None))
        await guest.fill_volume("data", "/no/such")
        assert os.listdir(target) == []
        await guest.fill_volume("data", "/data")
        check_filled(target)
        with pytest.raises(GuestError, match="failed to open the volume"):
            await guest.fill_volume("../data", "/data")


async def test_one_file_of_a_volume_can_be_bound_read_only(
    isolated: Connect, busybox_root: Path, tmp_path: Path
) -> None:
    (volume(tmp_path, "share0") / "file").write_text("content")
    mount = bound("share0", "/etc/conf", path="file", populate=False, options=("ro",))
    assert await run(isolated, busybox_root, mount, "cat /etc/conf; echo x > /etc/conf || echo ro") == "contentro\n"


async def replay(guest: GuestClient, name: str, *pieces: bytes) -> None:
    """Send records to the agent in pieces; returns when it has told them all."""
    stream, request = guest.transfer("share.replay", path=name)

    async def feed() -> None:
        for piece in pieces:
            await stream.write(piece)
        await stream.write_eof()

    with contextlib.closing(stream):
        feeding = asyncio.ensure_future(feed())
        try:
            await request
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


@needs_root
async def test_changes_are_replayed_where_they_happened_and_nowhere_else(
    plain: Connect, busybox_root: Path, tmp_path: Path
) -> None:
    target, outside = volume(tmp_path, "share0"), tmp_path / "outside"
    for path in (outside, target / "sub", target / "odd\udcff"):
        path.mkdir()
    for path in (outside / "file", target / "f", target / "sub/g", target / "calm"):
        path.write_text("x")
        os.utime(path, ns=(5, 5))
    (target / "out").symlink_to(outside)
    records = b"mf\0asub/g\0a.\0mgone\0mout/file\0m../../../outside/file\0m/etc/passwd\0\0aodd\xff\0aout\0"
    async with plain() as guest:
        await guest.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        await replay(guest, "share0", records[:1], records[1:9], records[9:])
        times = {path.name: (path.lstat().st_atime_ns, path.lstat().st_mtime_ns) for path in target.rglob("*")}
        assert times["f"][0] == 5  # the modification time alone: that is IN_MODIFY
        assert min(times["f"][1], *times["g"], *times["odd\udcff"], *times["out"]) > PRETENDED
        assert times["calm"] == (5, 5)
        assert (outside / "file").stat().st_mtime_ns == 5
        assert outside.stat().st_mtime_ns < PRETENDED
        with pytest.raises(GuestError, match="changes of a share"):
            await replay(guest, "share0", b"m" * 70000)
        with pytest.raises(GuestError, match="failed to open the volume"):
            await replay(guest, "../v/share0")


@pytest.fixture
def linked_root(busybox_root: Path, tmp_path: Path) -> Path:
    """An image whose links lead to nothing."""
    root = tmp_path / "linked"
    shutil.copytree(busybox_root, root, symlinks=True, ignore=shutil.ignore_patterns("data"))
    for link, target in (
        ("lock", "/run/lock"),
        ("out", "../../../../../../srv/new"),
        ("chain", "out/deeper"),
        ("file", "/not/there/file"),
        ("loop", "loop"),
    ):
        (root / link).symlink_to(target)
    return root


@pytest.mark.parametrize(
    ("where", "real"),
    [("/lock", "/run/lock"), ("/out", "/srv/new"), ("/chain", "/srv/new/deeper"), ("/chain/x", "/srv/new/deeper/x")],
)
async def test_a_volume_at_a_link_to_nothing_is_where_that_leads_inside_the_root(
    isolated: Connect, linked_root: Path, tmp_path: Path, where: str, real: str
) -> None:
    target = volume(tmp_path, "data")
    (target / "f").write_text("here")
    script = f"cat {real}/f; stat -c %a:%F {os.path.dirname(real)}; test -L {where.removesuffix('/x')} && echo link"
    found = await run(isolated, linked_root, bound("data", where), script)
    assert found == "here755:directory\nlink\n"
    assert not Path("/srv/new").exists()


async def test_a_file_at_a_link_to_nothing_is_where_that_leads(
    isolated: Connect, linked_root: Path, tmp_path: Path
) -> None:
    (volume(tmp_path, "data") / "f").write_text("here")
    mount = bound("data", "/file", path="f", populate=False)
    assert await run(isolated, linked_root, mount, "cat /not/there/file /file") == "herehere"
    with pytest.raises(GuestError, match="on /loop in the container: Too many levels"):
        await run(isolated, linked_root, Mount("tmpfs", "tmpfs", "/loop", []), "true")
