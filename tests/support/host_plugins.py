"""Plugins for tests of the processes around them: "containers" are processes of the host, "images" are made up.

`install(roots)` puts them where they shadow the built-in ones of the same name. Run as a program this file is each of
them: `host_plugins.py images|network|runtime start …`.
"""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from asyncvarlink import FileDescriptor

from container import paths
from container.api.images import Images
from container.api.network import Network
from container.api.runtime import Runtime
from container.errors import invalid_state, not_found
from container.ipc.server import serve, stop_on_signals
from container.model import codec
from container.model.container import ContainerState, ContainerStatus
from container.model.event import PrepareEvent, ProcessEvent, Progress
from container.model.image import Descriptor, ImageDescription, Platform, Rootfs
from container.model.launch import Launch
from container.model.network import NetworkStatus
from container.model.process import ProcessConfiguration, WindowSize
from container.paths import Roots
from container.store import atomic

PLUGINS = {
    "images": ("container-core-images", "core", "loadAtBoot = true\nrunAtLoad = false"),
    "network": ("container-network-bridge", "network", "loadAtBoot = false\nrunAtLoad = true"),
    "runtime": ("container-runtime-linux", "runtime", "loadAtBoot = false\nrunAtLoad = false"),
}


def install(roots: Roots) -> None:
    """Put the plugins below the install root, and a file that passes for a kernel below the app root."""
    for role, (name, kind, when) in PLUGINS.items():
        folder = Path(roots.install, "libexec", "container-plugins", name)
        (folder / "bin").mkdir(parents=True)
        services = f'defaultArguments = []\nservices = [{{ type = "{kind}" }}]'
        (folder / "config.toml").write_text(f'abstract = "a test"\n[servicesConfig]\n{when}\n{services}\n')
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P {__file__} {role} "$@"\n')
        program.chmod(0o755)
    kernels = Path(roots.app, "kernels")
    kernels.mkdir(parents=True)
    (kernels / "vmlinux").touch()
    for architecture in ("amd64", "arm64"):
        (kernels / f"default.kernel-{architecture}").symlink_to("vmlinux")


class HostImages(Images):
    """Every image is there, but for `missing`."""

    async def Prepare(
        self,
        *,
        reference: str,
        platform: Platform,
        scheme: str | None = None,
        max_concurrent_downloads: int | None = None,
    ) -> AsyncIterator[PrepareEvent]:
        if reference == "missing":
            raise not_found(f"image with reference {reference}")
        yield PrepareEvent(progress=Progress("Unpacking image", 1, 1))
        image = ImageDescription(reference, Descriptor("application/json", "sha256:" + "0" * 64, 1))
        environment = [f"PATH={os.environ['PATH']}"]
        yield PrepareEvent(rootfs=Rootfs(image, platform, "/disk", [], {"Cmd": ["true"], "Env": environment}))


class HostNetwork(Network):
    """Only a status."""

    async def Status(self) -> NetworkStatus:
        return NetworkStatus("192.168.64.0/24", "192.168.64.1")


class HostRuntime(Runtime):
    """Runs the init process, and others, on the host."""

    def __init__(self, bundle: str) -> None:
        self._bundle = bundle
        self._status = ContainerStatus(ContainerState.UNKNOWN)
        self._changed = asyncio.Event()
        self._init: asyncio.subprocess.Process | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopped = asyncio.Event()

    async def Start(
        self,
        *,
        launch: Launch,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncIterator[ProcessEvent]:
        if self._init is not None:
            raise invalid_state("started already")
        yield ProcessEvent(progress=Progress("Starting container"))
        process = launch.configuration.init_process
        if process.executable == "slow-boot":
            await asyncio.sleep(60)
        self._init = await _spawn(process, stdin, stdout, stderr)
        self._become(ContainerStatus(ContainerState.RUNNING, [], "2026-01-01T00:00:00Z"))
        task = asyncio.create_task(self._follow(self._init))
        self._tasks.add(task)
        yield ProcessEvent(started=True, process=launch.configuration.id)
        if wait:
            await self.stopped.wait()
            yield ProcessEvent(exit_code=self._status.exit_code)

    async def Exec(
        self,
        *,
        process: ProcessConfiguration,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncIterator[ProcessEvent]:
        running = await _spawn(process, stdin, stdout, stderr)
        yield ProcessEvent(started=True, process=str(running.pid))
        if wait:
            yield ProcessEvent(exit_code=_code(await running.wait()))

    async def Signal(self, *, process: str, signal: int) -> None:
        if self._init is None:
            raise invalid_state("not running")
        self._init.send_signal(signal)

    async def Resize(self, *, process: str, size: WindowSize) -> None:
        pass

    async def Stop(self, *, signal: int, timeout: float) -> None:
        if self._init is not None:
            self._init.send_signal(signal)
            try:
                async with asyncio.timeout(timeout):
                    await self.stopped.wait()
            except TimeoutError:
                self._init.kill()
            await self.stopped.wait()

    async def Status(self) -> ContainerStatus:
        return self._status

    async def Watch(self) -> AsyncIterator[ContainerStatus]:
        while True:
            status, changed = self._status, self._changed
            yield status
            if status.state is ContainerState.STOPPED:
                return
            await changed.wait()

    async def end(self) -> None:
        """End the process."""
        if self._init is not None and self._init.returncode is None:
            self._init.kill()
            await self.stopped.wait()

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        code = _code(await process.wait())
        status = ContainerStatus(ContainerState.STOPPED, [], self._status.started_date, code)
        atomic.write_json(os.path.join(self._bundle, "status.json"), codec.encode(status))
        self._become(status)
        self.stopped.set()

    def _become(self, status: ContainerStatus) -> None:
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


async def _spawn(process: ProcessConfiguration, *streams: FileDescriptor | None) -> asyncio.subprocess.Process:
    environment = dict(entry.split("=", 1) for entry in process.environment)
    stdin, stdout, stderr = (asyncio.subprocess.DEVNULL if item is None else item.fileno() for item in streams)
    return await asyncio.create_subprocess_exec(
        process.executable,
        *process.arguments,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment | {"CONTAINER_RUN_ROOT": os.environ["CONTAINER_RUN_ROOT"]},
        process_group=0,
        preexec_fn=_die_with_parent,
    )


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


async def _serve(role: str, arguments: list[str]) -> None:
    roots, stop = Roots.from_environment(), stop_on_signals()
    value = dict(itertools.pairwise(arguments))
    if role == "images":
        await (await serve([HostImages()], service=paths.IMAGES, roots=roots)).run(stop)
    elif role == "network":
        await (await serve([HostNetwork()], service=value["--service-identifier"], roots=roots)).run(stop)
    else:
        runtime = HostRuntime(value["--root"])
        service = paths.runtime_service("container-runtime-linux", value["--uuid"])
        async with await serve([runtime], service=service, roots=roots):
            ending = [asyncio.create_task(event.wait()) for event in (stop, runtime.stopped)]
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            await runtime.end()
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2:]))
