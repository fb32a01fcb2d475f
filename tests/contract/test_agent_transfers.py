"""Files in and out through the real agent, and how a transfer ends that is not wanted any more."""

import asyncio
import io
import os
import select
import tarfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.guest.client import GuestClient
from container.guest.process import GuestError
from container.guest.transfer import receive, send

from .conftest import Connect

pytestmark = pytest.mark.timeout(60)


async def copy_out(guest: GuestClient, path: Path, **more: bool) -> bytes:
    """The stream of a copy, through a pipe."""
    read_end, write_end = os.pipe()
    reader = asyncio.create_task(asyncio.to_thread(_read_all, read_end))
    try:
        await receive(guest, "copy.out", write_end, path=str(path), **more)
    finally:
        os.close(write_end)
        data = await reader
    return data


def _read_all(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


async def copy_in(guest: GuestClient, path: Path | str, stream: bytes, **more: bool) -> None:
    """Feed a stream through a file."""
    fd = os.memfd_create("stream")
    try:
        os.write(fd, stream)
        os.lseek(fd, 0, os.SEEK_SET)
        await send(guest, "copy.in", fd, path=str(path), **more)
    finally:
        os.close(fd)


def tar_of(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o4755
            info.uid, info.gid = os.getuid(), os.getgid()  # others are for root to give
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


async def test_a_large_tree_goes_out_and_in_again(plain: Connect, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(5_000_000))
    for number in range(200):
        (source / f"small{number}").write_bytes(b"x" * number)
    async with plain() as guest:
        stream = await copy_out(guest, source)
        await copy_in(guest, tmp_path / "new" / "place", stream)
    copied = tmp_path / "new" / "place"
    assert sorted(os.listdir(copied)) == sorted(os.listdir(source))
    assert (copied / "big").read_bytes() == (source / "big").read_bytes()


async def test_a_file_lands_in_a_directory_under_its_own_name(plain: Connect, tmp_path: Path) -> None:
    async with plain() as guest:
        await copy_in(guest, tmp_path, tar_of(name=b"text"))
        await copy_in(guest, tmp_path / "above" / "other", tar_of(name=b"text"))
    assert (tmp_path / "name").read_bytes() == (tmp_path / "above" / "other").read_bytes() == b"text"
    assert (tmp_path / "name").stat().st_mode & 0o7777 == 0o755


async def test_members_of_an_archive_go_into_a_directory_as_they_are(plain: Connect, tmp_path: Path) -> None:
    async with plain() as guest:
        await copy_in(guest, tmp_path, tar_of(a=b"1", b=b"2"), into=True)
        await copy_in(guest, tmp_path, bytes(1024), into=True)
        with pytest.raises(GuestError, match="destination directory does not exist"):
            await copy_in(guest, tmp_path / "none", tar_of(a=b"1"), into=True)
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "state0"]
    if os.getuid() == 0:
        assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o4755


async def test_paths_that_are_not_there_are_named(plain: Connect, tmp_path: Path) -> None:
    async with plain() as guest:
        with pytest.raises(GuestError, match=f"source path does not exist: {tmp_path}/none") as caught:
            await copy_out(guest, tmp_path / "none")
        assert caught.value.code is ErrorCode.NOT_FOUND
        with pytest.raises(GuestError, match="destination directory does not exist"):
            await copy_in(guest, f"{tmp_path}/none/.", tar_of(a=b"1"))


async def test_files_that_are_made_when_they_are_read_are_copied_with_their_contents(plain: Connect) -> None:
    async with plain() as guest:
        for path in ("/proc/version", "/proc/filesystems", "/sys/kernel/mm/transparent_hugepage/enabled"):
            stream = await copy_out(guest, Path(path))
            with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
                (member,) = tar.getmembers()
                copied = tar.extractfile(member)
                assert copied is not None
                assert copied.read() == Path(path).read_bytes(), path
        with pytest.raises(GuestError, match="failed to read mem: Input/output error"):
            await copy_out(guest, Path("/proc/self/mem"))
        with pytest.raises(GuestError, match="failed to read pagemap: File too large"):
            await copy_out(guest, Path("/proc/self/pagemap"))


async def test_a_reader_that_goes_or_has_no_room_ends_the_transfer(plain: Connect, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(20_000_000))
    async with plain() as guest:
        read_end, write_end = os.pipe()
        os.close(read_end)
        with pytest.raises(ContainerError, match="reader has gone"):
            await receive(guest, "copy.out", write_end, path=str(tmp_path / "big"))
        os.close(write_end)
        with open("/dev/full", "wb", buffering=0) as full, pytest.raises(ContainerError, match="No space left"):
            await receive(guest, "copy.out", full.fileno(), path=str(tmp_path / "big"))
        assert len(await copy_out(guest, tmp_path / "big")) > 20_000_000  # and the next one works


async def test_a_transfer_that_is_cancelled_leaves_no_child(plain: Connect, tmp_path: Path) -> None:
    async with plain() as guest:
        read_end, write_end = os.pipe()
        task = asyncio.create_task(send(guest, "copy.in", read_end, path=str(tmp_path)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        os.close(read_end)
        os.close(write_end)
        for _ in range(70):  # more than there may be at once
            await copy_in(guest, tmp_path / "x", tar_of(x=b""))


async def given_up(work: Callable[[], Awaitable[None]]) -> None:
    """A transfer that stands still, as soon as there may be one more."""
    while True:
        with pytest.raises(ContainerError) as caught:
            await work()
        if "too many copies" not in caught.value.message:
            break
        await asyncio.sleep(0.01)  # those of before are about to end
    assert (caught.value.code, caught.value.message) == (ErrorCode.TIMEOUT, "cannot copy: nothing moved for 0.01 s")


async def test_a_transfer_that_stands_still_is_given_up(plain: Connect, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(20_000_000))
    read_end, write_end = os.pipe()
    async with plain() as guest:
        for _ in range(70):  # more than there may be at once
            await given_up(lambda: receive(guest, "copy.out", write_end, patience=0.01, path=str(tmp_path / "big")))
        while select.select([read_end], [], [], 0)[0]:
            os.read(read_end, 1 << 20)
        await given_up(lambda: send(guest, "copy.in", read_end, patience=0.01, path=str(tmp_path / "x")))
    os.close(read_end)
    os.close(write_end)


async def test_a_transfer_to_a_slow_reader_takes_longer_than_it_may_stand_still(plain: Connect, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(6_000_000))
    read_end, write_end = os.pipe()

    def read_slowly() -> int:
        with open(read_end, "rb", buffering=0) as pipe:
            total = 0
            while piece := pipe.read(300_000):
                total += len(piece)
                time.sleep(0.05)
        return total

    async with plain() as guest:
        reader = asyncio.create_task(asyncio.to_thread(read_slowly))
        began = time.monotonic()
        try:
            await receive(guest, "copy.out", write_end, patience=3.0, path=str(tmp_path / "big"))
        finally:
            os.close(write_end)
        assert await reader > 6_000_000
        assert time.monotonic() - began > 3.0


async def test_what_is_no_tar_is_refused(plain: Connect, tmp_path: Path) -> None:
    async with plain() as guest:
        with pytest.raises(GuestError, match="no tar archive"):
            await copy_in(guest, tmp_path / "x", b"text" * 1000)
        with pytest.raises(GuestError, match="ended too early"):
            await copy_in(guest, tmp_path / "x", tar_of(x=bytes(5000))[:2000])


async def test_trees_need_a_root_file_system(plain: Connect) -> None:
    async with plain() as guest:
        for op in ("tree.export", "tree.layer", "tree.changes"):
            fd = os.memfd_create("tree")
            with pytest.raises(GuestError, match="root file system"):
                await receive(guest, op, fd)
            os.close(fd)
