"""The mounts of a container that need the host: volumes as disks, directories and files of the host as shares.

Each becomes a volume of the guest, which the agent mounts, and a bind mount of it in the container.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from container.errors import ContainerError, ErrorCode, internal, invalid_state, os_reason
from container.guest.spec import VolumeSpec
from container.model.container import ContainerConfiguration
from container.model.mount import Mount
from container.model.volume import BLOCK_FORMAT
from container.plugins.runtime.sockets import is_socket
from container.store import ext4
from container.store.locks import locked
from container.vm.qemu import VirtualMachine
from container.vm.spec import Disk, Share
from container.vm.virtiofs import FILE, FileServer, Terms, first_failure, serve

if TYPE_CHECKING:
    from container.guest.client import GuestClient

T = TypeVar("T")
LOCK_PATIENCE, LOCK_PAUSE = 2.0, 0.1  # seconds
FIRST_USE_LOCK = "first-use.lock"  # beside the volume's directory
FILLING = ".container-filling"  # in it, while it is being filled (guest/src/tree.c)
CACHED = {"cached", "delegated"}


@dataclass
class Storage:
    """What the machine gets (`disks`, `shares`), what the agent mounts (`volumes`), what the container gets."""

    disks: list[Disk] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)
    volumes: list[VolumeSpec] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    servers: list[FileServer] = field(default_factory=list)
    directories: dict[str, str] = field(default_factory=dict)  # volumes that other containers may have too, by name

    @property
    def may_fill(self) -> bool:
        """Whether the agent fills a volume from the image when it finds it empty."""
        return any(mount.detail.get("populate") for mount in self.mounts)

    def handed_over(self) -> None:
        """QEMU runs."""
        for server in self.servers:
            server.handed_over()

    async def watch(self, vm: VirtualMachine, abort: Callable[[int, str], None], patience: float) -> None:
        """Abort the run when a file server ends first: a machine whose files are gone hangs.

        A machine that ended takes its file servers with it; it has `patience` seconds to do so, unless one panicked.
        """
        if not self.servers:
            return
        failure = await first_failure(self.servers)
        try:
            await asyncio.wait_for(vm.wait(), 0 if any(server.panicked for server in self.servers) else patience)
        except TimeoutError:
            abort(128 + signal.SIGKILL, failure.describe())

    @contextlib.asynccontextmanager
    async def first_use(self, patience: float) -> AsyncIterator[None]:
        """Have the directories to ourselves while the agent fills those that are empty: no other sees them half full.

        Raises ContainerError(invalidState) when another container has one for `patience` seconds.
        """
        with contextlib.ExitStack() as stack:
            for name, source in sorted(self.directories.items()):
                await _patiently(partial(_lock_directory, stack, source, name), patience)
            yield

    def replaying(self, guest: "GuestClient", group: asyncio.TaskGroup) -> contextlib.AbstractContextManager[None]:
        """Tell the guest, while the context lasts, what the host changes in shares that are watched."""
        if all(server.changes is None for server in self.servers):
            return contextlib.nullcontext()
        from container.plugins.runtime.replay import replaying

        return replaying(guest, self.servers, group)

    def failure(self) -> ContainerError | None:
        """Why a share does not work any more, if one does not."""
        return next((failure for server in self.servers if (failure := server.failure()) is not None), None)


@contextlib.asynccontextmanager
async def attach(configuration: ContainerConfiguration, bundle: str) -> AsyncIterator[Storage]:
    """Lock the images, start the file servers; both end with the context.

    Raises ContainerError: notFound for a source that is not there, invalidState for an image that is in use.
    """
    storage = Storage()
    async with contextlib.AsyncExitStack() as stack:
        # Outer mounts first, whatever the order in which they were given.
        for mount in sorted(configuration.mounts, key=lambda item: item.destination.rstrip("/").count("/")):
            if mount.kind == "volume" and mount.detail.get("format", BLOCK_FORMAT) == BLOCK_FORMAT:
                await _add_disk(storage, stack, mount, configuration.mounts)
            elif mount.kind == "volume" or (mount.kind == "virtiofs" and not is_socket(mount.source)):
                await _add_share(storage, stack, mount, bundle)
            else:
                storage.mounts.append(mount)
        yield storage


def unprepared(mounts: Sequence[Mount]) -> list[Mount]:
    """The volumes among the mounts that are read-only and must be written to before, as ones that can be written."""
    writable = {mount.source for mount in mounts if not _is_read_only(mount)}
    return [
        replace(mount, options=[option for option in mount.options if option != "ro"])
        for mount in mounts
        if mount.kind == "volume" and mount.source not in writable and _needs_writing(mount)
    ]


def _needs_writing(mount: Mount) -> bool:
    """What cannot be looked at does not: who attaches it says why."""
    try:
        if mount.detail.get("format", BLOCK_FORMAT) == BLOCK_FORMAT:
            return ext4.needs_writing(mount.source)
        with os.scandir(mount.source) as files:
            unused = next(files, None) is None or os.path.lexists(os.path.join(mount.source, FILLING))
    except OSError:
        return False
    return unused and "nocopy" not in mount.options


def serial(volume: str) -> str:
    """The serial of a volume's disk: 20 bytes is what virtio-blk has room for."""
    return f"vol-{hashlib.sha256(volume.encode()).hexdigest()[:16]}"


async def _add_disk(storage: Storage, stack: contextlib.AsyncExitStack, mount: Mount, mounts: list[Mount]) -> None:
    volume = str(mount.detail["name"])
    number = serial(volume)
    name = number.replace("-", "")
    if all(item.name != name for item in storage.volumes):  # else it is mounted a second time
        stack.callback(os.close, await _patiently(lambda: _lock(mount.source, volume), LOCK_PATIENCE))
        wanted = [_is_read_only(item) for item in mounts if item.source == mount.source]
        read_only = all(wanted)
        storage.disks.append(Disk(mount.source, number, read_only=read_only, discard=not read_only))
        storage.volumes.append(VolumeSpec(name, "block", number, read_only))
    storage.mounts.append(_bind(name, mount))


async def _add_share(storage: Storage, stack: contextlib.AsyncExitStack, mount: Mount, bundle: str) -> None:
    name = f"share{len(storage.servers)}"
    terms = _terms(mount)
    server = await stack.enter_async_context(serve(mount.source, name, terms, directory=bundle))
    storage.servers.append(server)
    if mount.kind == "volume":
        storage.directories[str(mount.detail["name"])] = mount.source
    storage.shares.append(server.share)
    storage.volumes.append(VolumeSpec(name, "virtiofs", server.share.tag, terms.read_only, watched=terms.watched))
    storage.mounts.append(_bind(name, mount, FILE if server.is_file else None))


def _terms(mount: Mount) -> Terms:
    values = dict(option.partition("=")[::2] for option in mount.options)
    return Terms(
        read_only=_is_read_only(mount),
        cached=not CACHED.isdisjoint(mount.options),
        watched="inotify" in mount.options,
        uid=int(values["uid"]) if "uid" in values else None,
        gid=int(values["gid"]) if "gid" in values else None,
    )


def _bind(name: str, mount: Mount, path: str | None = None) -> Mount:
    populate = mount.kind == "volume" and "nocopy" not in mount.options
    detail = {"path": path or "", "populate": populate}
    return Mount("bind", name, mount.destination, ["ro"] if _is_read_only(mount) else [], detail)


def _is_read_only(mount: Mount) -> bool:
    return "ro" in mount.options


def _lock_directory(stack: contextlib.ExitStack, source: str, volume: str) -> None:
    try:
        stack.enter_context(locked(os.path.join(os.path.dirname(source), FIRST_USE_LOCK), wait=False))
    except ContainerError as error:
        if error.code is not ErrorCode.INVALID_STATE:
            raise
        text = f"cannot use volume '{volume}': a container that starts is still filling it from its image; try later"
        raise ContainerError(error.code, text, error) from error


def _lock(path: str, volume: str) -> int:
    """The image, locked for as long as the descriptor is open: also against a helper that outlived its API server."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        code = ErrorCode.NOT_FOUND if error.errno == errno.ENOENT else ErrorCode.INTERNAL
        raise ContainerError(code, f"cannot open volume '{volume}': {path}: {os_reason(error)}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if isinstance(error, BlockingIOError):
            raise invalid_state(f"volume '{volume}' is currently in use by another virtual machine") from error
        raise internal(f"cannot lock {path}: {os_reason(error)}") from error
    return fd


async def _patiently(lock: Callable[[], T], patience: float) -> T:
    """What `lock` returns; while it raises invalidState it is tried again, for `patience` seconds.

    Who has it may let it go in a moment (`volume prune` does, and a first use); a lock that is released tells nobody.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return lock()
        except ContainerError as error:
            if error.code is not ErrorCode.INVALID_STATE or time.monotonic() > deadline:
                raise
        await asyncio.sleep(LOCK_PAUSE)
