"""The API server as a process among processes: real supervisor, real sockets, helpers that run host processes."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from asyncvarlink import FileDescriptor
from support import host_plugins
from support.system import settle

from container import paths
from container.api.containers import Containers
from container.api.networks import Networks
from container.api.supervisor import Supervisor
from container.api.system import System
from container.errors import ContainerError
from container.ipc.client import Client
from container.model import codec
from container.model.container import ContainerRequest, ContainerState
from container.model.job import Job
from container.model.process import ProcessRequest
from container.paths import Roots
from container.supervisor import launch

pytestmark = pytest.mark.timeout(120)
SLEEP = ["sleep", "1000"]


class Bench:
    """A system whose containers are processes of the host."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.client = Client(roots.socket(paths.APISERVER), timeout=30)
        self.supervisor = Client(roots.socket(paths.SUPERVISOR), timeout=30)

    async def start_system(self) -> None:
        """Supervisor and API server; returns when the latter answers."""
        await asyncio.to_thread(launch.ensure_running, self.roots)
        job = codec.decode(Job, launch.apiserver_job(self.roots))
        await self.supervisor.call(Supervisor.Register, job=job)
        await self.client.call(System.Ping)

    async def pid(self, label: str) -> int | None:
        """Process id of a service, if it runs."""
        return {status.job.label: status.pid for status in await self.supervisor.call(Supervisor.List)}[label]

    async def kill(self, label: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a service; its process id."""
        pid = await self.pid(label)
        assert pid is not None
        os.kill(pid, number)
        return pid

    async def labels(self) -> set[str]:
        """Registered services."""
        return {status.job.label for status in await self.supervisor.call(Supervisor.List)}

    async def create(self, *arguments: str, id: str = "web", **options: object) -> None:
        """Create a container that runs `arguments` on the host."""
        process = ProcessRequest(arguments=list(arguments))
        values = {"image": "busybox", "process": process, "id": id, "networks": []} | options
        request = ContainerRequest(**values)  # type: ignore[arg-type]
        async with self.client.stream(Containers.Create, request=request) as events:
            last = [event async for event in events][-1]
        assert last.id == id

    async def start(self, id: str = "web", stdout: int | None = None, wait: bool = False) -> int | None:
        """Start a container; the exit code with `wait`."""
        output = None if stdout is None else FileDescriptor(stdout)
        code = None
        call = self.client.stream(Containers.Start, id=id, stdin=None, stdout=output, stderr=None, wait=wait)
        async with call as events:
            async for event in events:
                code = event.exit_code
        return code

    async def status(self, id: str = "web") -> tuple[ContainerState, int | None, str | None]:
        """State, exit code, reason."""
        status = (await self.client.call(Containers.Get, id=id)).status
        return status.state, status.exit_code, status.reason


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A running system, ended afterwards."""
    roots = Roots(*(str(tmp_path / name) for name in ("app", "run", "install", "log", "config.toml")))
    for name, value in (roots.environment() | {"CONTAINER_ACCELERATOR": "tcg"}).items():
        monkeypatch.setenv(name, value)
    host_plugins.install(roots)
    bench = Bench(roots)
    try:
        await bench.start_system()
        yield bench
    finally:
        with suppress(ContainerError):
            await bench.supervisor.call(Supervisor.Exit)
        left = await asyncio.to_thread(settle, lambda: _processes(roots), lambda found: not found, 10.0)
        log = Path(roots.log, f"{paths.APISERVER}.log").read_text()
        assert "Traceback" not in log, log
        assert left == {}


def _processes(roots: Roots) -> dict[int, str]:
    """Processes of the system, as the process table tells."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            marker = f"CONTAINER_RUN_ROOT={roots.run}\0".encode()
            if entry.name.isdigit() and int(entry.name) != os.getpid() and marker in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode()
    return {pid: command for pid, command in found.items() if command}


async def _until(bench: Bench, state: ContainerState, id: str = "web") -> None:
    async with asyncio.timeout(15):
        while (await bench.status(id))[0] is not state:
            await asyncio.sleep(0.02)


async def test_output_and_exit_code_reach_the_caller_and_nothing_is_left(bench: Bench) -> None:
    await bench.create("sh", "-c", "echo hi; exit 7", auto_remove=True)
    reading, writing = os.pipe()
    code = asyncio.ensure_future(bench.start(stdout=writing, wait=True))
    assert await code == 7
    os.close(writing)
    with open(reading) as output:
        assert output.read() == "hi\n"
    assert await bench.client.call(Containers.List, all=True) == []
    assert os.listdir(os.path.join(bench.roots.app, "containers")) == [".lock"]
    assert not [label for label in await bench.labels() if label.startswith(paths.RUNTIME_PREFIX)]


async def test_a_missing_image_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(ContainerError, match="image with reference missing"):
        await bench.create("true", image="missing")
    assert await bench.client.call(Containers.List, all=True) == []


async def test_a_detached_container_outlives_its_caller_and_stops(bench: Bench) -> None:
    await bench.create(*SLEEP)
    await bench.start()
    assert (await bench.status())[0] is ContainerState.RUNNING
    await bench.client.call(Containers.Stop, id="web", signal=None, timeout=5.0)
    assert (await bench.status())[:2] == (ContainerState.STOPPED, 143)
    await bench.client.call(Containers.Delete, id="web", force=False)


async def test_exec(bench: Bench) -> None:
    await bench.create(*SLEEP)
    await bench.start()
    reading, writing = os.pipe()
    call = bench.client.stream(
        Containers.Exec,
        id="web",
        process=ProcessRequest(["sh", "-c", "echo $A; exit 3"], ["A=b"]),
        stdin=None,
        stdout=FileDescriptor(writing),
        stderr=None,
        wait=True,
    )
    async with call as events:
        codes = [event.exit_code async for event in events]
    os.close(writing)
    assert codes[-1] == 3
    with open(reading) as output:
        assert output.read() == "b\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_running_containers_do_not_notice_that_the_api_server_ends(bench: Bench, number: int) -> None:
    await bench.create(*SLEEP)
    await bench.create(*SLEEP, id="short", auto_remove=True)
    await bench.start()
    await bench.start("short")
    runtime = await bench.pid(paths.runtime_service("container-runtime-linux", "web"))
    began = time.monotonic()
    server = await bench.kill(paths.APISERVER, number)
    async with asyncio.timeout(10):
        while await bench.pid(paths.APISERVER) in (server, None):
            await asyncio.sleep(0.02)
    listed = await bench.client.call(Containers.List, all=False)
    assert time.monotonic() - began < 5
    assert [(item.id, item.status.state) for item in listed] == [
        ("short", ContainerState.RUNNING),
        ("web", ContainerState.RUNNING),
    ]
    assert await bench.pid(paths.runtime_service("container-runtime-linux", "web")) == runtime
    await bench.client.call(Containers.Kill, id="web", signal="KILL")
    assert (await bench.status())[:2] == (ContainerState.STOPPED, 137)
    await bench.client.call(Containers.Kill, id="short", signal="KILL")
    assert [item.id for item in await bench.client.call(Containers.List, all=True)] == ["web"]


async def test_a_helper_that_is_killed_stops_one_container_with_a_reason(bench: Bench) -> None:
    for id in ("web", "other"):
        await bench.create(*SLEEP, id=id)
        await bench.start(id)
    await bench.kill(paths.runtime_service("container-runtime-linux", "web"))
    await _until(bench, ContainerState.STOPPED)
    state, code, reason = await bench.status()
    assert (state, code) == (ContainerState.STOPPED, None)
    assert reason.startswith("the runtime helper ended unexpectedly")
    assert (await bench.status("other"))[0] is ContainerState.RUNNING
    await bench.start()
    assert (await bench.status())[0] is ContainerState.RUNNING


async def test_a_boot_whose_container_is_deleted_is_given_up(bench: Bench) -> None:
    await bench.create("slow-boot")
    starting = asyncio.ensure_future(bench.start())
    await asyncio.sleep(0.5)
    await bench.client.call(Containers.Delete, id="web", force=True)
    with pytest.raises(ContainerError, match="failed to bootstrap container web"):
        await starting
    assert await bench.client.call(Containers.List, all=True) == []


async def test_a_caller_that_is_gone_before_the_exit_changes_nothing(bench: Bench) -> None:
    await bench.create("sleep", "0.5")
    call = bench.client.stream(Containers.Start, id="web", stdin=None, stdout=None, stderr=None, wait=True)
    async with call as events:
        async for event in events:
            if event.started:
                break
    await _until(bench, ContainerState.STOPPED)
    assert (await bench.status())[1] == 0


async def test_many_at_once(bench: Bench) -> None:
    names = [f"many-{number}" for number in range(10)]
    await asyncio.gather(*(bench.create(*SLEEP, id=name) for name in names))
    await asyncio.gather(*(bench.start(name) for name in names))
    assert len(await bench.client.call(Containers.List, all=False)) == 10
    await asyncio.gather(*(bench.client.call(Containers.Delete, id=name, force=True) for name in names))
    assert await bench.client.call(Containers.List, all=True) == []


async def test_the_default_network_and_the_health(bench: Bench) -> None:
    (network,) = await bench.client.call(Networks.List)
    assert (network.id, network.status.ipv4_gateway) == ("default", "192.168.64.1")
    health = await bench.client.call(System.Ping)
    assert health.app_root == bench.roots.app
    assert health.supervisor == "built-in"
