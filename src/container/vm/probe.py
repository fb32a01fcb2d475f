"""Which accelerator really works here: a verdict with its reason, kept until kernel, QEMU or host boot change.

A `/dev/kvm` that opens proves nothing: the only proof is a kernel that boots under it and an agent that answers.
"""

import asyncio
import glob
import os
import platform
import shutil
import socket
import struct
import tempfile
import time
from dataclasses import replace
from typing import Any

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, os_reason
from container.linux import tsc
from container.model import codec
from container.model.system import Accelerator, Kernel
from container.paths import Roots
from container.store import atomic
from container.vm import argv, initramfs, obstacle
from container.vm.process import find
from container.vm.qemu import VirtualMachine
from container.vm.spec import VMSpec

VARIABLE = "CONTAINER_ACCELERATOR"
TCG_SPEED = 10.0  # emulation is that many times slower than KVM, and more: timeouts are no promises

_FORCED_SPEED = 10.0  # nothing was measured
_DEADLINE = 40.0  # seconds; nested virtualization needs about 10
_REFERENCE_BOOT = 0.6  # seconds that a boot takes where KVM runs on the hardware
_RECORD = "accelerator.json"
_SCRATCH = ".probe-"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
# What a host says first on the agent's port: frame and KIND_HELLO of guest/include/proto.h.
_HELLO_BODY = b'{"version": 1}'
_HELLO = struct.pack("<IIB3x", len(_HELLO_BODY), 0, 1) + _HELLO_BODY


async def accelerator(roots: Roots, kernel: Kernel) -> Accelerator:
    """The accelerator to use for this kernel; boots it once under KVM when `/dev/kvm` opens and no verdict is kept.

    `CONTAINER_ACCELERATOR` = `kvm` or `tcg` overrides (`auto`, the default, probes). Takes up to 40 s, once, on a host
    whose KVM hangs. Raises ContainerError: invalid-argument for another value, unsupported when QEMU is not installed.
    """
    verdict = recorded(roots, kernel) or await _probe(roots, kernel)
    return replace(verdict, tsc_khz=await tsc.khz()) if verdict.name == "tcg" else verdict


async def _probe(roots: Roots, kernel: Kernel) -> Accelerator:
    verdict = await _boot(roots, kernel)
    try:
        os.makedirs(roots.app, mode=0o700, exist_ok=True)
        record = {"key": _key(kernel), "verdict": codec.encode(verdict)}
        atomic.write_json(os.path.join(roots.app, _RECORD), record)
    except OSError as error:
        raise internal(f"cannot keep the accelerator's verdict in {roots.app}: {os_reason(error)}") from error
    return verdict


def recorded(roots: Roots, kernel: Kernel) -> Accelerator | None:
    """The verdict that is kept, or that needs no boot; None when only a boot can tell. Errors as `accelerator`."""
    find(argv.binary(kernel.architecture))
    wanted = os.environ.get(VARIABLE) or "auto"
    kept = _kept(roots, kernel)
    if wanted == "tcg":
        return Accelerator("tcg", f"set by {VARIABLE}", TCG_SPEED)
    if wanted == "kvm":
        measured = kept is not None and kept.name == "kvm"
        return Accelerator("kvm", f"set by {VARIABLE}", kept.speed if kept and measured else _FORCED_SPEED)
    if wanted != "auto":
        raise invalid_argument(f"invalid {VARIABLE} value '{wanted}': expected auto, kvm or tcg")
    found = obstacle.find(kernel.architecture, _MACHINES.get(platform.machine(), platform.machine()))
    return kept if found is None else _emulation(found)


def _emulation(found: obstacle.Obstacle) -> Accelerator:
    return Accelerator("tcg", found.reason, TCG_SPEED, advice=found.advice)


async def _boot(roots: Roots, kernel: Kernel) -> Accelerator:
    os.makedirs(roots.app, mode=0o700, exist_ok=True)
    for left in glob.glob(os.path.join(glob.escape(roots.app), f"{_SCRATCH}*")):  # by a probe that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=roots.app) as scratch:
        archive = await asyncio.to_thread(initramfs.build, kernel, initramfs.agent_path(), scratch)
        spec = VMSpec(
            name="probe",
            architecture=kernel.architecture,
            accelerator=Accelerator("kvm", "probe", 1.0),
            kernel=kernel.path,
            initramfs=archive,
            cpus=1,
            memory_in_bytes=256 * argv.MIB,
        )
        began = time.monotonic()
        try:
            async with VirtualMachine.start(spec, boot_log=os.path.join(scratch, "boot.log")) as vm:
                await vm.guard(_answer(vm.agent), doing="a test boot under KVM", deadline=_DEADLINE)
                seconds = time.monotonic() - began
        except ContainerError as error:
            if error.code not in (ErrorCode.INTERRUPTED, ErrorCode.TIMEOUT):
                raise
            reason = error.message.splitlines()[0].removesuffix(": last lines of the boot log:")
            return _emulation(obstacle.broken(reason))
    speed = round(max(1.0, seconds / _REFERENCE_BOOT), 2)
    return Accelerator("kvm", f"a test boot under KVM took {seconds:.2f} s", speed)


async def _answer(agent: socket.socket) -> None:
    """Greet the agent and wait for the first byte of its answer."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(agent, _HELLO)
        if await loop.sock_recv(agent, 1):
            return
        reason = "the agent's channel ended"
    except OSError as error:
        reason = f"the agent's channel broke: {os_reason(error)}"
    raise ContainerError(ErrorCode.INTERRUPTED, f"a test boot under KVM failed: {reason}")


def _kept(roots: Roots, kernel: Kernel) -> Accelerator | None:
    try:
        record = atomic.read_json(os.path.join(roots.app, _RECORD))
        if record["key"] == _key(kernel):
            return codec.decode(Accelerator, record["verdict"])
    except (ContainerError, KeyError, TypeError, ValueError):
        pass  # it is made again
    return None


def _key(kernel: Kernel) -> dict[str, Any]:
    """What a verdict holds for: this kernel file, this QEMU, this boot of the host."""
    program = find(argv.binary(kernel.architecture))
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    return {"kernel": identity(kernel.path), "qemu": identity(program), "boot": boot}


def identity(path: str) -> list[Any]:
    """What tells one version of a file from another."""
    found = os.stat(path)
    return [os.path.realpath(path), found.st_size, found.st_mtime_ns]
