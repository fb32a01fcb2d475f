"""Stand-ins at the seams between processes: a runtime helper, the supervisor's view of helpers, the image helper."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from container import paths
from container.apiserver.containers.streams import Streams
from container.errors import ContainerError, ErrorCode, ServiceLost, not_found
from container.model.container import ContainerState, ContainerStatus
from container.model.event import PrepareEvent, ProcessEvent, Progress
from container.model.image import Descriptor, ImageDescription, Platform, Rootfs, RootfsLayer
from container.model.launch import Launch, NetworkService
from container.model.mount import Mount
from container.model.network import Attachment, AttachmentConfiguration
from container.model.process import ProcessConfiguration, WindowSize
from container.model.system import Accelerator, Kernel

DIGEST = "sha256:" + "a" * 64
LOST = ServiceLost("connection to the helper was lost")


def rootfs(**config: object) -> Rootfs:
    """An image made ready."""
    image = ImageDescription("docker.io/library/busybox:latest", Descriptor("application/json", DIGEST, 10))
    return Rootfs(image, Platform("linux", "amd64"), "/disk.vmdk", [RootfsLayer(1, DIGEST, 5)], dict(config))


class FakeImages:
    """Has one image, `busybox`."""

    def __init__(self) -> None:
        self.config: dict[str, object] = {"Cmd": ["sh"], "Env": ["PATH=/bin"]}
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = False

    @asynccontextmanager
    async def prepare(
        self, reference: str, platform: Platform, scheme: str, max_concurrent_downloads: int
    ) -> AsyncGenerator[AsyncIterator[PrepareEvent], None]:
        """Progress and the root file system."""
        if reference != "busybox":
            raise not_found(f"image with reference {reference}")
        yield self._events()

    async def _events(self) -> AsyncIterator[PrepareEvent]:
        yield PrepareEvent(progress=Progress("Unpacking image", 1, 2))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        yield PrepareEvent(rootfs=rootfs(**self.config))


class FakeVolumes:
    """Has every volume, as a disk."""

    async def resolve(self, mounts: list[Mount]) -> tuple[list[Mount], list[str]]:
        """The mounts with a source; none was made."""
        return [
            replace(mount, source=f"/volumes/{mount.detail['name']}", detail={**mount.detail, "format": "ext4"})
            if mount.kind == "volume"
            else mount
            for mount in mounts
        ], []


class FakeMachines:
    """A kernel and a verdict."""

    async def kernel(self, path: str | None) -> Kernel:
        """The kernel."""
        if path == "/missing":
            raise not_found("kernel file not found at path /missing")
        return Kernel(path or "/vmlinux", "amd64")

    async def accelerator(self, kernel: Kernel) -> Accelerator:
        """The verdict."""
        return Accelerator("tcg", "a test", 10.0)

    def notice(self) -> str | None:
        """Something to say."""
        return "a notice"

    def delay(self) -> str | None:
        """A reason."""
        return "a reason"


class FakeNetworks:
    """The default network."""

    async def check(self, attachment: AttachmentConfiguration) -> None:
        """Only the default one exists."""
        if attachment.network != "default":
            raise not_found(f"network {attachment.network} not found")

    async def service(self, network: str) -> NetworkService:
        """Its helper."""
        return NetworkService(network, "/run/network")


class FakeHelper:
    """A runtime helper that does what a test tells it to; `boot` holds the start back until it is set."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.registered = False
        self.runs = 0
        self.launch: Launch | None = None
        self.boot = asyncio.Event()
        self.boot.set()
        self.boot_error: ContainerError | None = None
        self.refused: int | None = None  # exit code of a program that cannot be executed
        self.signals: list[tuple[str, int]] = []
        self.stops: list[tuple[int, float]] = []
        self.detached = False
        self.hangs = False  # does not heed stop
        self.status = ContainerStatus(ContainerState.UNKNOWN)
        self.crashed = False
        self._changed = asyncio.Event()

    async def register(self) -> None:
        """A fresh helper."""
        assert not self.registered
        self.registered, self.crashed = True, False
        self.status = ContainerStatus(ContainerState.UNKNOWN)
        self.runs += 1

    async def deregister(self) -> None:
        """It is gone."""
        self.registered = False
        self.crash()

    def crash(self) -> None:
        """Killed: every connection breaks."""
        self.crashed = True
        self._wake()

    def become(self, status: ContainerStatus) -> None:
        """Tell the watchers."""
        self.status = status
        self._wake()

    def exit(self, code: int, reason: str | None = None) -> None:
        """The init process ends."""
        self.become(ContainerStatus(ContainerState.STOPPED, started_date="then", exit_code=code, reason=reason))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until_stopped(self) -> None:
        while self.status.state is not ContainerState.STOPPED:
            await self._change()

    async def _change(self) -> None:
        if not self.crashed:
            await self._changed.wait()
        if self.crashed:
            raise LOST

    @asynccontextmanager
    async def start(
        self, launch: Launch, streams: Streams, wait: bool
    ) -> AsyncGenerator[AsyncIterator[ProcessEvent], None]:
        """Boots."""
        self.launch = launch
        try:
            yield self._starting(wait)
        finally:
            self.detached = self.status.state is ContainerState.RUNNING

    async def _starting(self, wait: bool) -> AsyncIterator[ProcessEvent]:
        yield ProcessEvent(progress=Progress("Starting container"))
        waiting = asyncio.ensure_future(self.boot.wait())
        while not self.boot.is_set():
            change = asyncio.ensure_future(self._change())
            await asyncio.wait({waiting, change}, return_when=asyncio.FIRST_COMPLETED)
            if change.done():
                change.result()
            change.cancel()
        await waiting
        if self.refused is not None:
            self.exit(self.refused, "no such program")
            yield ProcessEvent(exit_code=self.refused)
            return
        if self.boot_error is not None:
            self.become(ContainerStatus(ContainerState.STOPPED, reason=self.boot_error.message))
            raise self.boot_error
        attachment = Attachment("default", self.id, "192.168.64.2/24", "192.168.64.1")
        self.become(ContainerStatus(ContainerState.RUNNING, [attachment], "then"))
        yield ProcessEvent(started=True, process=self.id)
        if wait:
            await self._until_stopped()
            yield ProcessEvent(exit_code=self.status.exit_code)

    @asynccontextmanager
    async def exec(
        self, process: ProcessConfiguration, streams: Streams, wait: bool
    ) -> AsyncGenerator[AsyncIterator[ProcessEvent], None]:
        """Starts and ends at once."""
        if self.crashed:
            raise LOST
        if process.arguments == ["reboot"]:
            raise ContainerError(ErrorCode.INTERRUPTED, "the connection to the guest agent ended")
        yield self._executed(process)

    async def _executed(self, process: ProcessConfiguration) -> AsyncIterator[ProcessEvent]:
        yield ProcessEvent(started=True, process="exec-1")
        yield ProcessEvent(exit_code=len(process.arguments))

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[AsyncIterator[ContainerStatus], None]:
        """The status and its changes."""
        yield self._watched()

    async def _watched(self) -> AsyncIterator[ContainerStatus]:
        while True:
            status = self.status
            yield status
            if status.state is ContainerState.STOPPED:
                return
            while self.status is status:
                await self._change()

    async def signal(self, process: str, signal: int) -> None:
        """Noted."""
        self.signals.append((process, signal))

    async def resize(self, process: str, size: WindowSize) -> None:
        """Nothing."""

    async def stop(self, signal: int, timeout: float) -> None:
        """Ends, unless it hangs."""
        self.stops.append((signal, timeout))
        if self.hangs:
            raise ContainerError(ErrorCode.TIMEOUT, "request timed out")
        self.become(replace(self.status, state=ContainerState.STOPPING))
        await asyncio.sleep(0)
        self.exit(128 + signal)


class FakeHelpers:
    """A FakeHelper for each container."""

    def __init__(self) -> None:
        self.helpers: dict[str, FakeHelper] = {}

    def __getitem__(self, id: str) -> FakeHelper:
        return self.helpers.setdefault(id, FakeHelper(id))

    def of(self, id: str, runtime: str) -> FakeHelper:
        """The helper of a container."""
        if runtime != "container-runtime-linux":
            raise not_found(f"unable to locate runtime plugin {runtime}")
        return self[id]

    async def running(self) -> set[str]:
        """Those that are registered and live."""
        return {
            paths.runtime_service("container-runtime-linux", id)
            for id, helper in self.helpers.items()
            if helper.registered and not helper.crashed
        }
