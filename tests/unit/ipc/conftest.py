"""A service under test and the descriptors of this process."""

import asyncio
import gc
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asyncvarlink import FileDescriptor

from container.errors import ContainerError, ErrorCode, invalid_argument, not_found
from container.ipc.interface import Interface, method, stream
from container.ipc.server import Server, serve
from container.model.network import Attachment
from container.model.process import WindowSize
from container.paths import Roots

SERVICE = "io.container.test.service"


class Probe(Interface, name="io.container.test.Probe"):
    """One method for each thing that can travel."""

    @method("text")
    async def Echo(self, *, text: str) -> str:
        """Give `text` back."""

    @method("sizes")
    async def Models(self, *, sizes: list[WindowSize], named: dict[str, Attachment]) -> list[WindowSize]:
        """Models in lists and dictionaries."""

    @method("value")
    async def Optional(self, *, size: WindowSize | None, file: FileDescriptor | None, number: float) -> str:
        """What came of optional parameters."""

    @method()
    async def Fail(self, *, code: str) -> None:
        """Fail with a code and two causes."""

    @method()
    async def Crash(self) -> None:
        """Fail with something that is no ContainerError."""

    @method()
    async def Sleep(self) -> None:
        """Never return."""

    @method("content")
    async def Read(self, *, first: FileDescriptor, second: FileDescriptor, text: str) -> str:
        """What the descriptors hold."""

    @method("pipes")
    async def Pipes(self) -> list[FileDescriptor]:
        """Two read ends, with a word in each."""

    @stream("number")
    def Count(self, *, until: int) -> AsyncIterator[int]:
        """Numbers from 1; then wait for ever if `until` is negative."""


class ProbeHandler(Probe):
    """Remembers what happened to its calls."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def Echo(self, *, text: str) -> str:
        return text

    async def Models(self, *, sizes: list[WindowSize], named: dict[str, Attachment]) -> list[WindowSize]:
        assert all(isinstance(value, Attachment) for value in named.values())
        return [*sizes, WindowSize(len(named), 0)]

    async def Optional(self, *, size: WindowSize | None, file: FileDescriptor | None, number: float) -> str:
        return f"{size} {file is not None} {number!r}"

    async def Fail(self, *, code: str) -> None:
        causes = ContainerError(ErrorCode.EXISTS, "middle", not_found("innermost"))
        raise ContainerError(ErrorCode.parse(code), "outermost", causes)

    async def Crash(self) -> None:
        try:
            async with asyncio.TaskGroup():
                raise invalid_argument("in a group")
        except* ValueError:
            pass

    async def Sleep(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def Read(self, *, first: FileDescriptor, second: FileDescriptor, text: str) -> str:
        return os.read(first.fileno(), 100).decode() + os.read(second.fileno(), 100).decode() + str(len(text))

    async def Pipes(self) -> list[FileDescriptor]:
        return [FileDescriptor(filled_pipe(word), should_close=True) for word in (b"one", b"two")]

    async def Count(self, *, until: int) -> AsyncIterator[int]:
        try:
            for number in range(1, abs(until) + 1):
                yield number
            if until < 0:
                self.started.set()
                await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def filled_pipe(content: bytes) -> int:
    """The read end of a pipe that holds `content`."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.write(write_end, content)
    os.close(write_end)
    return read_end


def open_descriptors() -> set[str]:
    """This process's descriptors and what they are."""
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return found


@asynccontextmanager
async def no_descriptor_left() -> AsyncIterator[None]:
    """Fail when the block leaves a descriptor open, or closes one of ours; connections get a moment to end."""
    await asyncio.sleep(0.05)
    before = open_descriptors()
    yield
    for _ in range(20):
        if open_descriptors() == before:
            break
        await asyncio.sleep(0.05)
    assert open_descriptors() == before


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Roots of their own."""
    return Roots(*(str(tmp_path / name) for name in ("app", "run", "install", "log", "config.toml")))


@asynccontextmanager
async def serving(roots: Roots, handler: Interface) -> AsyncIterator[tuple[Server, str]]:
    """A server with `handler`, and its socket's path."""
    server = await serve([handler], service=SERVICE, roots=roots)
    async with server:
        yield server, roots.socket(SERVICE)


@pytest.fixture
def public_roots() -> Iterator[Roots]:
    """Roots that another user could reach if modes did not forbid it."""
    with tempfile.TemporaryDirectory(prefix="container-test-") as base:
        os.chmod(base, 0o755)
        yield Roots("a", f"{base}/run", "i", "l", "c")
