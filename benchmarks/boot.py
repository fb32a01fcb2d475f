"""`run --rm busybox true` against the bare floor: the same QEMU, kernel and initramfs whose init powers off at once.

Where machines are saved (`vm.saved`), all but the first go on from there; the first of its shape is measured as well.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from support.system import System

from benchmarks.measure import Result, alternating
from container.model.system import Kernel
from container.paths import Roots
from container.vm import initramfs, probe
from container.vm.kernel import KernelStore
from container.vm.qemu import VirtualMachine
from container.vm.spec import VMSpec

POWER_OFF = """
#include <sys/reboot.h>
#include <unistd.h>
int main(void) { reboot(RB_POWER_OFF); return 1; }
"""
MEMORY, CPUS = 256, 1


def measure(system: System) -> list[Result]:
    """The ratios, each over five pairs of runs."""
    roots = system_roots(system)
    kernel = KernelStore(roots).default("amd64" if sys.platform == "linux" else "")
    assert kernel is not None
    with tempfile.TemporaryDirectory() as scratch:
        spec = floor_spec(roots, kernel, Path(scratch))

        def floor() -> None:
            asyncio.run(_boot(spec, str(Path(scratch, "boot.log"))))

        def ours() -> None:
            system.run("run", "--rm", "-c", str(CPUS), "-m", f"{MEMORY}m", "busybox", "true")

        def first() -> None:
            for state in Path(roots.app, "cache").glob("machine-*.state"):
                state.unlink()
            ours()

        promises = (
            ("run --rm busybox true / bare floor", ours, 1.3),
            ("the first one of its shape / the same", first, 1.8),
        )
        return [_ratio(*alternating(floor, work), promise, target) for promise, work, target in promises]


def _ratio(bare: float, whole: float, promise: str, target: float) -> Result:
    return Result(promise, whole / bare, target, detail=f"{whole:.2f} s against {bare:.2f} s")


def system_roots(system: System) -> Roots:
    """The roots of a system under test."""
    app, run = system.environment["CONTAINER_APP_ROOT"], system.environment["CONTAINER_RUN_ROOT"]
    return Roots(app=app, run=run, install=sys.prefix, log=f"{app}/logs", config="/nonexistent")


def floor_spec(roots: Roots, kernel: Kernel, scratch: Path) -> VMSpec:
    """The machine of a container, without disks and network, whose init powers off."""
    source, init = scratch / "init.c", scratch / "init"
    source.write_text(POWER_OFF)
    subprocess.run(["gcc", "-O2", "-static", "-o", str(init), str(source)], check=True)
    accelerator = probe.recorded(roots, kernel)
    assert accelerator is not None
    return VMSpec(
        name="floor",
        architecture=kernel.architecture,
        accelerator=accelerator,
        kernel=kernel.path,
        initramfs=initramfs.build(kernel, str(init), str(scratch / "cache")),
        cpus=CPUS,
        memory_in_bytes=(MEMORY + 128) << 20,
    )


async def _boot(spec: VMSpec, log: str) -> None:
    async with VirtualMachine.start(spec, boot_log=log) as machine:
        await machine.wait()
