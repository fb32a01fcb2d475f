"""Virtual machines, booted for real: the kernel and the agent that containers use, without the rest of the system."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.guest.client import GuestClient
from container.model.system import Accelerator, Kernel
from container.paths import Roots
from container.vm import initramfs, probe
from container.vm.kernel import KernelStore
from container.vm.process import Child
from container.vm.qemu import VirtualMachine
from container.vm.spec import Disk, VMSpec

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
BOOT = 15.0  # seconds of a machine with KVM


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    base = tmp_path_factory.mktemp("vm")
    return Roots(str(base / "app"), str(base / "run"), str(base), str(base / "log"), str(base / "config.toml"))


@pytest.fixture(scope="module")
def kernel(roots: Roots) -> Kernel:
    async def install() -> None:
        async for _ in KernelStore(roots).install_recommended(ARCHITECTURE):
            pass

    asyncio.run(install())
    kernel = KernelStore(roots).default(ARCHITECTURE)
    assert kernel is not None
    return kernel


@pytest.fixture(scope="module")
def accelerator(roots: Roots, kernel: Kernel) -> Accelerator:
    return asyncio.run(probe.accelerator(roots, kernel))


@pytest.fixture
def spec(tmp_path: Path, kernel: Kernel, accelerator: Accelerator) -> VMSpec:
    return make_spec(kernel, accelerator, initramfs.build(kernel, initramfs.agent_path(), str(tmp_path / "cache")))


@pytest.fixture
async def nothing_left(tmp_path: Path) -> AsyncIterator[None]:
    """No descriptor of ours and no QEMU of this test survives it."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before
    assert not qemus(tmp_path)


def make_spec(kernel: Kernel, accelerator: Accelerator, archive: str, **changes: object) -> VMSpec:
    values: dict[str, object] = {
        "name": "test",
        "architecture": kernel.architecture,
        "accelerator": accelerator,
        "kernel": kernel.path,
        "initramfs": archive,
        "cpus": 1,
        "memory_in_bytes": 256 << 20,
    }
    return VMSpec(**{**values, **changes})  # type: ignore[arg-type]


def with_changes(spec: VMSpec, **changes: object) -> VMSpec:
    return VMSpec(**{**vars(spec), **changes})  # type: ignore[arg-type]


def qemus(tmp_path: Path) -> list[int]:
    """Processes whose command line names this test's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu" in words and os.fsencode(tmp_path) in words:
                found.append(int(entry.name))
    return found


async def greet(vm: VirtualMachine) -> None:
    async with GuestClient.connect(vm.agent, timeout=600):
        pass


async def test_the_agent_answers_and_powers_off(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    async with VirtualMachine.start(spec, boot_log=str(tmp_path / "boot.log")) as vm:
        async with GuestClient.connect(vm.agent, timeout=600) as guest:
            await guest.shutdown()
        ended = await vm.shutdown(grace=20)
    assert (ended.clean, ended.status) == (True, 0), ended


async def test_the_monitor_answers_while_the_guest_boots(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    async with VirtualMachine.start(spec, boot_log=str(tmp_path / "boot.log")) as vm:
        status = await vm.qmp.execute("query-status")
        assert isinstance(status, dict)
        assert status["status"] == "running"
        with pytest.raises(ContainerError, match="no-such-command"):
            await vm.qmp.execute("no-such-command")
        assert (await vm.shutdown()).clean


async def test_several_cpus_are_there(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    async with VirtualMachine.start(with_changes(spec, cpus=3), boot_log=str(tmp_path / "boot.log")) as vm:
        await vm.guard(greet(vm), doing="a boot", deadline=BOOT)
        cpus = await vm.qmp.execute("query-cpus-fast")
        assert isinstance(cpus, list)
        assert len(cpus) == 3


async def test_machines_share_a_read_only_disk_of_flat_extents(
    spec: VMSpec, tmp_path: Path, nothing_left: None
) -> None:
    (tmp_path / "extent").write_bytes(b"\0" * 4096)
    descriptor = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
    descriptor += 'createType="twoGbMaxExtentFlat"\nRW 8 FLAT "extent" 0\n'
    (tmp_path / "image.vmdk").write_text(descriptor)
    disk = Disk(str(tmp_path / "image.vmdk"), "image", format="vmdk", read_only=True)
    shared = with_changes(spec, disks=(disk,))
    async with (
        VirtualMachine.start(shared, boot_log=str(tmp_path / "first.log")) as first,
        VirtualMachine.start(shared, boot_log=str(tmp_path / "second.log")) as second,
    ):
        await asyncio.gather(*(vm.guard(greet(vm), doing="a boot", deadline=BOOT) for vm in (first, second)))


async def test_a_disk_that_is_not_there_is_named(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    missing = with_changes(spec, disks=(Disk(str(tmp_path / "nope.ext4"), "upper"),))
    with pytest.raises(ContainerError, match=r"nope\.ext4.*No such file") as caught:
        async with VirtualMachine.start(missing, boot_log=str(tmp_path / "boot.log")) as vm:
            await vm.guard(greet(vm), doing="booting the virtual machine", deadline=BOOT)
    assert caught.value.code is ErrorCode.INTERRUPTED
    assert caught.value.message.startswith("booting the virtual machine failed: QEMU exited with status 1")


async def test_a_kernel_that_panics_is_reported_with_its_last_words(
    spec: VMSpec, tmp_path: Path, nothing_left: None
) -> None:
    broken = with_changes(spec, kernel_arguments=("rdinit=/nope", "root=/dev/nope"))
    with pytest.raises(ContainerError, match=r"guest kernel panicked.*VFS: Unable to mount root fs") as caught:
        async with VirtualMachine.start(broken, boot_log=str(tmp_path / "boot.log")) as vm:
            await vm.guard(greet(vm), doing="booting the virtual machine", deadline=BOOT)
    assert "last lines of the boot log" in caught.value.message


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc to build an init that says nothing")
async def test_a_guest_that_hangs_is_reported_after_the_deadline(
    kernel: Kernel, accelerator: Accelerator, tmp_path: Path, nothing_left: None
) -> None:
    source = '#include <fcntl.h>\n#include <unistd.h>\nint main(void) { write(2, "stuck\\n", 6); for (;;) pause(); }\n'
    (tmp_path / "init.c").write_text(source)
    subprocess.run(["gcc", "-static", "-o", str(tmp_path / "init"), str(tmp_path / "init.c")], check=True)
    archive = initramfs.build(kernel, str(tmp_path / "init"), str(tmp_path / "cache"))
    spec = make_spec(kernel, accelerator, archive)
    with pytest.raises(ContainerError, match=r"(?s)no answer within .* s: .*stuck") as caught:
        async with VirtualMachine.start(spec, boot_log=str(tmp_path / "boot.log")) as vm:
            await vm.guard(greet(vm), doing="booting the virtual machine", deadline=8 / accelerator.speed)
    assert caught.value.code is ErrorCode.TIMEOUT


async def test_a_killed_qemu_is_told_at_once(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    async with VirtualMachine.start(spec, boot_log=str(tmp_path / "boot.log")) as vm:
        os.kill(vm.pid, signal.SIGKILL)
        with pytest.raises(ContainerError, match="ended by SIGKILL") as caught:
            await vm.guard(greet(vm), doing="waiting", deadline=BOOT)
        ended = await vm.wait()
    assert caught.value.code is ErrorCode.INTERRUPTED
    assert (ended.clean, ended.status) == (False, -signal.SIGKILL)


async def test_shutdown_ends_a_qemu_that_is_stuck(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    quick = with_changes(spec, accelerator=Accelerator(spec.accelerator.name, "test", 1.0))
    async with VirtualMachine.start(quick, boot_log=str(tmp_path / "boot.log")) as vm:
        await vm.qmp.execute("query-status")
        os.kill(vm.pid, signal.SIGSTOP)
        began = time.monotonic()
        ended = await vm.shutdown()
        assert ended.status == -signal.SIGKILL
        assert time.monotonic() - began < 15


@pytest.mark.parametrize("after", [0.0, 0.001, 0.01, 0.05, 0.5])
async def test_cancelling_a_boot_leaves_nothing_behind(
    spec: VMSpec, tmp_path: Path, nothing_left: None, after: float
) -> None:
    async def life() -> None:
        async with VirtualMachine.start(spec, boot_log=str(tmp_path / "boot.log")) as vm:
            await vm.qmp.execute("query-status")
            await vm.guard(greet(vm), doing="a boot", deadline=BOOT)
            await vm.wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(life(), after)


async def test_an_error_of_the_body_arrives_as_it_is(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    with pytest.raises(ZeroDivisionError):
        async with VirtualMachine.start(spec, boot_log=str(tmp_path / "boot.log")):
            raise ZeroDivisionError


def test_qemu_dies_with_its_helper(spec: VMSpec, tmp_path: Path) -> None:
    source = textwrap.dedent(f"""
        import asyncio, os, signal
        from container.model.system import Accelerator
        from container.vm.qemu import VirtualMachine
        from container.vm.spec import VMSpec

        async def main():
            async with VirtualMachine.start({spec!r}, boot_log={str(tmp_path / "boot.log")!r}) as vm:
                await vm.qmp.execute("query-status")
                print(vm.pid, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """)
    helper = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, timeout=60, check=False)
    assert helper.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while qemus(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not qemus(tmp_path)


async def test_a_kernel_that_qemu_cannot_load_is_reported(spec: VMSpec, tmp_path: Path, nothing_left: None) -> None:
    (tmp_path / "kernel").write_bytes(b"not a kernel at all" * 1000)
    broken = with_changes(spec, kernel=str(tmp_path / "kernel"))
    with pytest.raises(ContainerError, match="QEMU exited with status 1"):
        async with VirtualMachine.start(broken, boot_log=str(tmp_path / "boot.log")) as vm:
            await vm.guard(greet(vm), doing="a boot", deadline=BOOT)


async def test_a_boot_log_that_cannot_be_written_is_reported(spec: VMSpec, nothing_left: None) -> None:
    with pytest.raises(ContainerError, match="cannot start the virtual machine test"):
        async with VirtualMachine.start(spec, boot_log="/nonexistent/boot.log"):
            pass


def test_the_probe_keeps_its_verdict(
    roots: Roots, kernel: Kernel, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probe.recorded(roots, kernel) == replace(accelerator, tsc_khz=None)
    assert accelerator.name in ("kvm", "tcg")
    assert accelerator.reason

    def no_boot(*_: object) -> None:
        raise AssertionError("booted again")

    monkeypatch.setattr(Child, "start", no_boot)
    assert asyncio.run(probe.accelerator(roots, kernel)) == accelerator
