"""One runtime helper with a real machine, without the rest of the system: bundle, kernel, image disk, calls."""

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

from asyncvarlink import FileDescriptor

from container import paths
from container.api.runtime import Runtime
from container.errors import ContainerError
from container.ipc.client import Client
from container.model.container import Resources
from container.model.image import RootfsLayer
from container.model.system import Accelerator
from container.oci.rootfs import DiskStore
from container.vm.kernel import KernelStore
from support.launches import launch

CACHE = Path(os.environ.get("CONTAINER_TEST_CACHE", Path(__file__).parents[2] / ".cache")) / "rig"
SPEED = 10.0  # deadlines of an emulated machine on a busy host
MEBIBYTE = 1 << 20


def kernel():
    """The recommended kernel, installed once below the test cache."""
    store = KernelStore(_roots(CACHE))

    async def install():
        async for _ in store.install_recommended("amd64"):
            pass

    if store.default("amd64") is None:
        asyncio.run(install())
    return store.default("amd64")


def busybox_disk(directory):
    """Path of an image disk with one busybox layer, and its layers."""
    tree = Path(directory) / "tree"
    for name in ("bin", "etc", "dev", "proc", "sys", "tmp", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\nstaff:x:50:\n")
    squashfs = Path(directory) / "layer.squashfs"
    options = ["-noappend", "-quiet", "-no-progress", "-comp", "lz4", "-all-root"]
    subprocess.run(["mksquashfs", tree, squashfs, *options], check=True, stdout=subprocess.DEVNULL)
    store = DiskStore(str(directory))
    disk, parts = store.make("sha256:" + "ab" * 32, [("sha256:" + "cd" * 32, str(squashfs))])
    return disk, [RootfsLayer(1, part.diff_id, part.size) for part in parts]


def _roots(base):
    base = Path(base)
    return paths.Roots(*(str(base / name) for name in ("app", "run", "install", "log", "config")))


class Rig:
    """Makes helpers; everything is below one directory."""

    def __init__(self, base):
        self.base = Path(base)
        self.roots = _roots(base)
        for name in ("app", "run"):
            (self.base / name).mkdir(mode=0o700)
        self.kernel = kernel()
        self.disk, self.layers = busybox_disk(self.base / "image")

    def launch(self, id, arguments, network_services=(), speed=SPEED, **changes):
        """A launch of `arguments` in busybox; further keywords change the configuration."""
        changes.setdefault("resources", Resources(cpus=1, memory_in_bytes=200 * MEBIBYTE))
        made = launch(id, arguments, **changes)
        return dataclasses.replace(
            made,
            rootfs=dataclasses.replace(made.rootfs, disk=self.disk, layers=self.layers),
            kernel=self.kernel,
            accelerator=Accelerator("tcg", "test", speed),
            networks=list(network_services),
        )

    @asynccontextmanager
    async def helper(self, id):
        """A running helper; killed at the end if it still runs."""
        bundle = self.base / "app/containers" / id
        bundle.mkdir(parents=True, exist_ok=True)
        with (bundle / "helper.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "container.plugins.runtime.main", "start", "--debug"),
                *("--root", str(bundle), "--uuid", id),
                env={**os.environ, **self.roots.environment()},
                stdout=log,
                stderr=log,
            )
        try:
            yield await Helper.reached(self, id, bundle, process)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()

    @asynccontextmanager
    async def running(self, id, arguments, **changes):
        """A helper whose container runs."""
        async with self.helper(id) as helper:
            await helper.start(arguments, **changes)
            yield helper


class Helper:
    """One helper process and its calls."""

    def __init__(self, rig, id, bundle, process):
        self.rig, self.id, self.bundle, self.process = rig, id, bundle, process
        self.client = Client(rig.roots.socket(paths.runtime_service("container-runtime-linux", id)), timeout=120)

    @classmethod
    async def reached(cls, *arguments):
        """Wait until it serves."""
        helper = cls(*arguments)
        while True:
            try:
                await helper.client.call(Runtime.Status)
            except ContainerError:
                assert helper.process.returncode is None
                await asyncio.sleep(0.02)
            else:
                return helper

    def start_stream(self, arguments, *, streams=(None, None, None), wait=True, **changes):
        """The stream of a Start call; `streams` are descriptors."""
        return self.client.stream(
            Runtime.Start, launch=self.rig.launch(self.id, arguments, **changes), wait=wait, **_named(streams)
        )

    async def start(self, arguments, **options):
        """Start without waiting for the exit."""
        await drain(self.start_stream(arguments, wait=False, **options))

    async def run(self, arguments, *, stdin=b"", **options):
        """Start, feed, wait: (exit code, stdout, stderr)."""
        return await _exchange(lambda streams: self.start_stream(arguments, streams=streams, **options), stdin)

    def exec_stream(self, arguments, *, streams=(None, None, None), wait=True, **changes):
        """The stream of an Exec call."""
        process = dataclasses.replace(self.rig.launch(self.id, arguments).configuration.init_process, **changes)
        return self.client.stream(Runtime.Exec, process=process, wait=wait, **_named(streams))

    async def exec(self, *arguments, stdin=b"", **changes):
        """Exec, feed, wait: (exit code, stdout, stderr)."""
        return await _exchange(lambda streams: self.exec_stream(arguments, streams=streams, **changes), stdin)

    async def stop(self, number=15, timeout=5.0):
        """Stop the container."""
        await self.client.call(Runtime.Stop, signal=number, timeout=timeout)

    async def until(self, wanted):
        """The first status that `wanted` is true of."""
        async with self.client.stream(Runtime.Watch) as statuses:
            async for status in statuses:
                if wanted(status):
                    return status
        raise AssertionError("it never came")

    async def ended(self):
        """Wait until the helper has ended; its exit status."""
        return await asyncio.wait_for(self.process.wait(), 60)

    def children(self):
        """Pids of its child processes, with their programs."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode() for pid in listed}

    def qemu(self):
        """Pid of its QEMU."""
        return next(pid for pid, program in self.children().items() if "qemu" in program)

    def status(self):
        """What is in status.json."""
        return json.loads((self.bundle / "status.json").read_text())

    def log(self):
        """(stream, text) of every record of the log."""
        with (self.bundle / "stdio.log").open() as file:
            return [(record["stream"], record["log"]) for record in map(json.loads, file)]


async def drain(stream):
    """Wait for the end of a stream; its events."""
    async with stream as events:
        return [event async for event in events]


def _named(streams):
    names = ("stdin", "stdout", "stderr")
    return {name: None if fd is None else FileDescriptor(fd) for name, fd in zip(names, streams, strict=True)}


async def _exchange(open_stream, stdin):
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        source.write(stdin)
        source.seek(0)
        code = None
        async with open_stream((source.fileno(), output.fileno(), errors.fileno())) as events:
            async for event in events:
                code = event.exit_code if event.exit_code is not None else code
        output.seek(0)
        errors.seek(0)
        return code, output.read().decode(errors="replace"), errors.read().decode(errors="replace")
