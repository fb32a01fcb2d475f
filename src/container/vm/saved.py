"""Machines that have booted, saved: others of the same shape go on from there instead of booting.

The first machine of a shape is saved while its agent waits for HELLO, by QEMU's migration into a file. By then the
guest knows nothing of a container: it has looked at no disk, network card or random number of its own. A machine that
goes on from the file gets its random seed with HELLO, and finds the disks and cards that it has now.

Only emulated machines are saved: a boot takes them seconds, and what machines of one boot share (where their kernels
have things in memory) would weaken a boundary which emulation is not. A file holds for one boot of the host. It is
`<cache>/machine-<key>.state`; an empty one stands for a shape that cannot be saved.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from container.errors import ContainerError, ErrorCode, internal
from container.vm import argv
from container.vm.initramfs import forget_oldest
from container.vm.probe import identity
from container.vm.process import find
from container.vm.spec import Disk, Nic, VMSpec, Wiring

if TYPE_CHECKING:
    from qemu.qmp import Message

    from container.vm.qmp import Monitor

_PREFIX = "machine-"
_KEPT = 4  # files in the cache, of 70 MB and more each
_LARGEST = 3 << 30  # bytes of memory; each page is looked at, and from here on a boot is about as quick
_DEADLINE = 6.0  # seconds of a machine with KVM, for saving
_MOMENT = 0.005
_UNLIMITED = 1 << 40  # bytes a second
_EMPTY: dict[str, Any] = {"format": argv.NOTHING, "path": ""}

_log = logging.getLogger(__name__)


class SavedMachine:
    """The place of one shape's saved machine. `fd` is the file to go on from, None when there is none (yet)."""

    def __init__(self, path: str | None, fd: int | None, *, wanted: bool) -> None:
        self.fd = fd
        self.wanted = wanted  # whether the machine that boots now is to be saved
        self._path = path

    @classmethod
    @contextmanager
    def of(cls, spec: VMSpec, cache: str) -> "Iterator[SavedMachine]":
        """What there is for `spec`; the file is open as long as this."""
        try:
            path = _path(spec, cache)
            fd = None if path is None else _open(path)
        except (OSError, ContainerError):  # no QEMU, no kernel: the start will tell
            path = fd = None
        usable = fd is not None and os.fstat(fd).st_size > 0
        saved = cls(path, fd if usable else None, wanted=path is not None and fd is None)
        try:
            yield saved
        finally:
            if fd is not None:
                os.close(fd)

    @classmethod
    @contextmanager
    def none(cls) -> "Iterator[SavedMachine]":
        """For a machine that boots whatever there is, and is not saved."""
        yield cls(None, None, wanted=False)

    def bootable(self, spec: VMSpec) -> VMSpec:
        """The machine to start: one that is to be saved gets disks that stand in the way of it afterwards (`save`)."""
        if not self.wanted:
            return spec
        return replace(spec, disks=tuple(replace(disk, **_EMPTY) if _hinders(disk) else disk for disk in spec.disks))

    def discard(self) -> None:
        """No machine of this shape goes on from the file any more, nor is one saved again."""
        assert self._path is not None
        self.fd = None
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)

    def drop(self) -> None:
        """The file seems to be at fault: the next machine of this shape boots, and is saved in its place."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    async def save(self, spec: VMSpec, monitor: "Monitor") -> None:
        """Save a `bootable` machine as soon as its agent waits; then it goes on with all its disks.

        That it cannot be saved is logged. Raises ContainerError when it cannot go on.
        """
        deadline = _DEADLINE * max(1.0, spec.accelerator.speed)
        await self._try_to_save(monitor, deadline)
        await _settled(monitor, deadline)
        for index, disk in enumerate(spec.disks):
            if _hinders(disk):
                node = f"late{index}"
                await monitor.execute("blockdev-add", argv.block_node(node, disk))
                path = f"/machine/peripheral/disk{index}"
                await monitor.execute("qom-set", {"path": path, "property": "drive", "value": node})
        await monitor.execute("cont")

    async def _try_to_save(self, monitor: "Monitor", deadline: float) -> None:
        assert self._path is not None
        try:
            fd = os.open(os.path.dirname(self._path), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _log.debug("machines cannot be saved here: %s", error)
            return
        try:
            await _write(monitor, fd, deadline)
            await asyncio.to_thread(self._keep, fd)
        except (ContainerError, OSError) as error:
            _log.warning("cannot save the machine that has booted: %s", error)
        finally:
            os.close(fd)

    def _keep(self, fd: int) -> None:
        with contextlib.suppress(FileExistsError):  # another machine of the shape was quicker
            os.link(f"/proc/self/fd/{fd}", str(self._path), src_dir_fd=fd)  # which has it follow the symbolic link
        forget_oldest(os.path.dirname(str(self._path)), _PREFIX, _KEPT)


async def _write(monitor: "Monitor", fd: int, deadline: float) -> None:
    async with monitor.events("VSERPORT_CHANGE", "MIGRATION") as events:
        await monitor.execute("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
        await monitor.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED})
        await monitor.send(fd, "state")
        try:
            async with asyncio.timeout(deadline):
                if not await _waits(monitor):
                    await _told(events, open=[True])
                await monitor.execute("migrate", {"uri": "fd:state"})
                if await _told(events, status=["completed", "failed"]) == "failed":
                    raise internal("cannot save the machine: QEMU cannot write it")
        except TimeoutError as error:
            with contextlib.suppress(ContainerError):
                await monitor.execute("migrate_cancel")
            raise ContainerError(
                ErrorCode.TIMEOUT, f"cannot save the machine: QEMU is not done within {deadline:g} s"
            ) from error


async def _settled(monitor: "Monitor", deadline: float) -> None:
    """Wait until QEMU lets the machine go on: it tells of the end of a migration a moment before."""
    try:
        async with asyncio.timeout(deadline):
            while True:
                found: Any = await monitor.execute("query-status")
                if found["status"] != "finish-migrate":
                    return
                await asyncio.sleep(_MOMENT)
    except TimeoutError as error:
        raise internal("cannot save the machine: QEMU does not get done with it") from error


async def _told(events: "AsyncIterator[Message]", **wanted: list[object]) -> object:
    """Wait for an event whose data has one of the wanted values; the value."""
    ((key, values),) = wanted.items()
    async for event in events:
        data: Any = event["data"]
        if data.get(key) in values:
            return data[key]
    raise ContainerError(ErrorCode.INTERRUPTED, "cannot save the machine: QEMU has ended")


async def _waits(monitor: "Monitor") -> bool:
    """Whether the agent has opened its port."""
    found: Any = await monitor.execute("query-chardev")
    return any(item["label"] == argv.AGENT_CHANNEL and item["frontend-open"] for item in found)


def _hinders(disk: Disk) -> bool:
    return disk.format == "vmdk"  # QEMU migrates no machine that has such a disk


def _path(spec: VMSpec, cache: str) -> str | None:
    """Where a machine of this shape is saved; None for one that is not."""
    if spec.accelerator.name != "tcg" or spec.shares or spec.memory_in_bytes > _LARGEST:
        return None
    return os.path.join(cache, f"{_PREFIX}{shape(spec)}.state")


def shape(spec: VMSpec) -> str:
    """What machines of one shape have in common, on this boot of the host. Raises OSError and ContainerError."""
    alike = replace(
        spec,
        name="",
        accelerator=replace(spec.accelerator, tsc_khz=None),
        disks=tuple(replace(disk, path="", serial="", volatile=False) for disk in spec.disks),
        nics=tuple(Nic(0) for _ in spec.nics),
        shares=tuple(replace(share, socket=0) for share in spec.shares),
    )
    words = argv.build(alike, Wiring(0, 0, ""))
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        words.append(file.read())
    files = [identity(path) for path in (spec.kernel, find(words[0]))]
    return hashlib.sha256(json.dumps([words, files]).encode()).hexdigest()[:32]


def _open(path: str) -> int | None:
    """The file, which counts as used now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    os.utime(fd)
    return fd
