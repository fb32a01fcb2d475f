"""The helper as a process of its own: over its socket, killed in the middle of its work, and told to stop."""

import asyncio
import os
import random
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asyncvarlink import FileDescriptor
from support.ociarchive import ImageFiles, layout, member, tar

from container import paths
from container.api.images import Images
from container.errors import ContainerError
from container.ipc.client import Client
from container.model.image import Platform
from container.paths import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots(str(tmp_path / "app"), str(tmp_path / "run"), str(tmp_path), str(tmp_path), str(tmp_path / "none"))


@contextmanager
def helper(roots: Roots) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "container.plugins.images.main", "start"],
        env={**os.environ, **roots.environment()},
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def client(roots: Roots) -> Client:
    """A client of the helper, when it answers."""
    found = Client(roots.socket(paths.IMAGES), timeout=60)
    for _ in range(3000):
        try:
            await found.call(Images.List)
        except ContainerError:
            await asyncio.sleep(0.02)
        else:
            return found
    raise AssertionError("the helper does not answer")


async def load(found: Client, archive: Path) -> list[str]:
    fd = os.open(archive, os.O_RDONLY)
    try:
        async with found.stream(Images.Load, archive=FileDescriptor(fd), force=False) as events:
            return [name for event in [item async for item in events] for name in event.references or []]
    finally:
        os.close(fd)


def write_archive(path: Path, size: int, name: str = "app") -> Path:
    layers = [tar(*(member(f"{layer}/{n}", os.urandom(size // 60)) for n in range(20))) for layer in range(3)]
    path.write_bytes(layout((name, ImageFiles(layers))))
    return path


async def test_it_serves_on_its_socket_and_ends_on_sigterm(roots: Roots, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", 1 << 16)
    with helper(roots) as process:
        found = await client(roots)
        assert await load(found, archive) == ["docker.io/library/app:latest"]
        async with found.stream(Images.Prepare, reference="app", platform=Platform("linux", "amd64")) as events:
            rootfs = [event.rootfs async for event in events][-1]
        assert rootfs is not None
        assert len(rootfs.layers) == 3
        with pytest.raises(ContainerError, match="image with reference gone"):
            await found.call(Images.Get, reference="gone")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not os.path.exists(roots.socket(paths.IMAGES))


async def test_sigterm_in_the_middle_of_a_load_ends_at_once_and_leaves_nothing(roots: Roots) -> None:
    reader, writer = os.pipe()
    with helper(roots) as process:
        found = await client(roots)
        async with found.stream(Images.Load, archive=FileDescriptor(reader), force=False) as events:
            await anext(events)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 60) == 0
    for fd in (reader, writer):
        os.close(fd)
    assert content(roots) == set()


async def test_it_may_have_more_files_open_than_is_usual(roots: Roots) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        with helper(roots) as process:
            await client(roots)
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (max(1024, min(hard, 65536)), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_kill_at_any_moment_corrupts_nothing(roots: Roots, tmp_path: Path) -> None:
    kept, archive = write_archive(tmp_path / "k.tar", 1 << 16, "kept"), write_archive(tmp_path / "a.tar", 6 << 20)
    with helper(roots):
        await load(await client(roots), kept)
    before = content(roots)
    for _ in range(6):
        with helper(roots) as process:
            found = await client(roots)
            task = asyncio.create_task(load(found, archive))
            await asyncio.sleep(random.uniform(0, 0.25))
            process.kill()
            await asyncio.gather(task, return_exceptions=True)
            loaded = task.exception() is None
        with helper(roots):
            found = await client(roots)
            names = [image.configuration.name for image in await found.call(Images.List)]
            assert "docker.io/library/kept:latest" in names
            if len(names) == 1:
                assert not loaded
                assert content(roots) == before
            else:
                result = await found.call(Images.Delete, references=["app"], all=False, force=False)
                assert result.deleted == ["docker.io/library/app:latest"]
                assert content(roots) == before


def content(roots: Roots) -> set[str]:
    images = Path(roots.app) / "images"
    found = {str(path.relative_to(images)) for path in images.rglob("*") if path.is_file()}
    return found - {".lock", "oci-layout", "index.json"}


def has_no_reader(writer: int) -> bool:
    """Whether the last reader of a pipe closes it within a minute."""
    poll = select.poll()
    poll.register(writer, select.POLLERR)
    return bool(poll.poll(60_000))


async def test_a_client_that_hangs_up_ends_its_load(roots: Roots) -> None:
    reader, writer = os.pipe()
    with helper(roots):
        found = await client(roots)
        async with found.stream(Images.Load, archive=FileDescriptor(reader), force=False) as events:
            await anext(events)
        os.close(reader)
        assert await asyncio.to_thread(has_no_reader, writer)
    os.close(writer)


async def test_an_idle_helper_is_small(roots: Roots, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", 20 << 20)
    with helper(roots) as process:
        await load(await client(roots), archive)
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    fields = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines() if line.endswith("kB")}
    assert fields["Private_Dirty"] + fields["Private_Clean"] < 40_000


def test_bad_arguments_are_refused() -> None:
    command = [sys.executable, "-m", "container.plugins.images.main", "stop"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
