"""Health never waits; the probe's verdict comes in the background, and again after a new kernel."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from container.apiserver.background import Background
from container.apiserver.containers.starts import Starts
from container.apiserver.system.handler import SystemHandler
from container.apiserver.system.housekeeping import Housekeeping
from container.apiserver.system.service import SystemService
from container.apiserver.system.usage import Usage
from container.errors import ContainerError, ErrorCode
from container.model.event import Progress
from container.model.job import JobStatus
from container.model.plugin import CLIPlugin
from container.model.system import Accelerator, Kernel
from container.paths import Roots

TCG = Accelerator("tcg", "/dev/kvm boots nothing", 10.0)


class FakeKernels:
    """Installed kernels in a dict."""

    def __init__(self) -> None:
        self.kernels: dict[str, Kernel] = {}

    def default(self, architecture: str) -> Kernel | None:
        return self.kernels.get(architecture)

    def adhoc(self, path: str, architecture: str) -> Kernel:
        return Kernel(path, architecture)

    def install(self, binary: str, modules: str | None, architecture: str, *, force: bool = False) -> Kernel:
        if architecture in self.kernels and not force:
            raise ContainerError(ErrorCode.EXISTS, "a kernel of that name is installed")
        return self.kernels.setdefault(architecture, Kernel(binary, architecture, None, modules))

    def installed(self) -> dict[str, bool]:
        return {}

    def remove(self, directory: str) -> None:
        raise AssertionError(directory)

    async def install_recommended(self, architecture: str, *, force: bool = False) -> AsyncIterator[Progress]:
        yield Progress("Downloading kernel", 1, 3)
        self.install("/recommended", None, architecture, force=force)


class FakeProber:
    """A probe that takes as long as a test wants."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.probed: list[str] = []
        self.verdicts: dict[str, Accelerator] = {}
        self.error: ContainerError | None = None

    async def accelerator(self, kernel: Kernel) -> Accelerator:
        if kernel.path in self.verdicts:
            return self.verdicts[kernel.path]
        self.probed.append(kernel.path)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.verdicts[kernel.path] = TCG
        return TCG


class FakeMachines:
    """None."""

    def is_starting(self) -> bool:
        return False

    def has_own_kernel(self) -> bool:
        return False


async def no_jobs() -> list[JobStatus]:
    """No services."""
    return []


class FakePlugins:
    """One CLI plugin."""

    def cli(self) -> list[CLIPlugin]:
        return [CLIPlugin("foo", "Does foo", "/bin/foo")]


class House:
    """A system service and its fakes."""

    def __init__(self, base: Path, tasks: Background) -> None:
        self.roots = Roots(*(str(base / name) for name in ("app", "run", "install", "log", "config.toml")))
        self.kernels, self.prober = FakeKernels(), FakeProber()
        self.starts = Starts()
        self.service = SystemService(
            self.roots, "built-in", "amd64", self.kernels, self.prober, FakePlugins(), tasks, self.starts
        )
        kept = Housekeeping(self.roots, self.kernels, FakeMachines(), no_jobs)
        self.handler = SystemHandler(self.service, Usage(), kept)
        self.tasks = tasks


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A system without a kernel."""
    async with Background() as tasks:
        yield House(tmp_path, tasks)


async def test_health_before_during_and_after_the_probe(house: House) -> None:
    health = await house.handler.Ping()
    assert (health.accelerator, health.accelerator_reason) == ("unknown", "not probed yet")
    assert health.api_server_version.startswith("container-apiserver version ")
    await house.service.probe()
    assert house.service.health().accelerator_reason == "no kernel is installed"
    house.kernels.install("/vmlinux", None, "amd64")
    probing = house.tasks.start(house.service.probe(), "probe")
    await asyncio.sleep(0.01)
    assert (await house.handler.Ping()).accelerator == "unknown"
    house.prober.gate.set()
    await probing
    assert (await house.handler.Ping()).accelerator_reason == "/dev/kvm boots nothing"


async def test_the_verdict_can_be_waited_for_and_its_notice_is_given_out_once(house: House) -> None:
    house.kernels.install("/vmlinux", None, "amd64")
    assert house.service.delay() == "testing whether KVM works"
    waiting = asyncio.create_task(house.handler.AwaitAccelerator())
    house.tasks.start(house.service.probe(), "probe")
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert house.service.notice() is None
    house.prober.gate.set()
    assert (await waiting).accelerator_notice is None
    house.prober.verdicts["/vmlinux"] = replace(TCG, reason="no /dev/kvm: really", advice="buy one")
    house.service._probe_again()
    notice = (await house.handler.AwaitAccelerator()).accelerator_notice
    assert notice is not None
    assert notice.endswith("and ten or more times slower: no /dev/kvm. To change that: buy one")
    assert [house.service.notice(), house.service.notice()] == [notice, None]
    assert "emulated without KVM" in str(house.service.delay())


async def test_starts_wait_for_one_probe(house: House) -> None:
    kernel = house.kernels.install("/vmlinux", None, "amd64")
    starts = asyncio.gather(*(house.service.accelerator(kernel) for _ in range(5)))
    await asyncio.sleep(0.01)
    house.prober.gate.set()
    assert await starts == [TCG] * 5
    assert house.prober.probed == ["/vmlinux"]


async def test_a_kernel_of_ones_own_has_the_verdict_of_the_default_one(house: House) -> None:
    house.kernels.install("/vmlinux", None, "amd64")
    house.prober.gate.set()
    assert await house.service.accelerator(Kernel("/mine", "amd64")) == TCG
    assert house.prober.probed == ["/vmlinux"]


async def test_no_qemu_is_said_in_the_health(house: House) -> None:
    house.kernels.install("/vmlinux", None, "amd64")
    house.prober.gate.set()
    house.prober.error = ContainerError(ErrorCode.UNSUPPORTED, "qemu-system-x86_64 is not installed")
    await house.service.probe()
    assert house.service.health().accelerator_reason == "qemu-system-x86_64 is not installed"


async def test_the_kernel_of_a_container(house: House) -> None:
    text = (
        "default kernel not configured for architecture amd64, "
        "please use the `container system kernel set` command to configure it"
    )
    with pytest.raises(ContainerError, match=text) as caught:
        await house.service.kernel(None)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert (await house.service.kernel("/mine")).path == "/mine"
    house.kernels.install("/vmlinux", None, "amd64")
    assert (await house.service.kernel(None)).path == "/vmlinux"


async def test_a_new_kernel_is_probed(house: House) -> None:
    house.prober.gate.set()
    options = {"modules": None, "architecture": "amd64"}
    steps = [
        step
        async for step in house.handler.SetKernel(binary="/k", recommended=False, force=False, **options)  # type: ignore[arg-type]
    ]
    assert steps[-1].description == "Unpacking kernel"
    assert await house.handler.GetKernel(architecture="amd64") == Kernel("/k", "amd64")
    with pytest.raises(ContainerError, match="missing argument '--binary'"):
        await anext(house.handler.SetKernel(binary=None, recommended=False, force=False, **options))  # type: ignore[arg-type]
    with pytest.raises(ContainerError, match="a kernel of that name is installed"):
        async for _ in house.handler.SetKernel(binary=None, recommended=True, force=False, **options):  # type: ignore[arg-type]
            pass
    await asyncio.sleep(0.05)
    assert house.prober.probed == ["/k"]
    assert house.service.health().accelerator == "tcg"


async def test_an_architecture_that_is_unknown(house: House) -> None:
    with pytest.raises(ContainerError, match="unsupported architecture riscv64"):
        await house.handler.GetKernel(architecture="riscv64")


async def test_cli_plugins(house: House) -> None:
    assert [plugin.name for plugin in await house.handler.CLIPlugins()] == ["foo"]
