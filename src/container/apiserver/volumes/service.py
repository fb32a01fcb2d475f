"""The volumes of a system: records, images and directories, and what the mounts of containers mean for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from container.apiserver.background import Background
from container.apiserver.volumes import records
from container.errors import ContainerError, ErrorCode, internal, invalid_state, not_found
from container.model.mount import Mount
from container.model.prune import Pruned
from container.model.volume import (
    ANONYMOUS_LABEL,
    BLOCK_FORMAT,
    Volume,
    VolumeConfiguration,
    VolumeRequest,
)
from container.store import space
from container.store.entities import Entities

_log = logging.getLogger(__name__)

VOLUME = "volume"  # kind of a mount
Users = Callable[[str], Awaitable[list[str]]]


class VolumesService:
    """See `api.volumes.Volumes` for what each operation does; all raise ContainerError."""

    def __init__(self, store: Entities[VolumeConfiguration], users: Users, tasks: Background) -> None:
        """`users` tells which containers refer to a volume, running or not, also those that are being made."""
        self._store = store
        self._users = users
        self._tasks = tasks
        self._records: dict[str, VolumeConfiguration] = {}
        self._corrupt: dict[str, str] = {}
        self._loaded = asyncio.Event()
        self._changing = asyncio.Lock()  # what refers to a volume, and what removes it, do not overlap

    async def load(self) -> None:
        """Read the records; until then every operation waits."""
        loaded = await asyncio.to_thread(self._store.load_all)
        for corrupt in loaded.corrupt:
            _log.error("volume %s cannot be loaded: %s: %s", corrupt.id, corrupt.path, corrupt.reason)
            self._corrupt[corrupt.id] = corrupt.reason
        self._records = dict(loaded.records)
        self._loaded.set()

    async def create(self, request: VolumeRequest) -> Volume:
        """Make a volume; one that fails leaves nothing."""
        await self._loaded.wait()
        records.check_name(request.name)
        async with self._changing:
            return await self._tasks.complete(self._create(request), f"the creation of volume {request.name}")

    async def _create(self, request: VolumeRequest) -> Volume:
        record = records.configure(request, self._store.directory(request.name))
        if request.name in self._records or request.name in self._corrupt:
            raise ContainerError(ErrorCode.EXISTS, f"volume '{request.name}' already exists")

        def fill(directory: str) -> None:
            records.fill(record, directory)

        await asyncio.to_thread(self._store.create, request.name, record, fill)
        self._records[request.name] = record
        return Volume(request.name, record)

    async def delete(self, name: str) -> None:
        """Remove a volume that no container refers to."""
        await self._loaded.wait()
        async with self._changing:
            await self._tasks.complete(self._delete(name), f"the removal of volume {name}")

    async def _delete(self, name: str) -> None:
        if name not in self._records and name not in self._corrupt:
            raise not_found(f"volume '{name}' not found; `container volume list` shows those that there are")
        if users := await self._users(name):
            what = f"volume '{name}' is currently in use and cannot be accessed by another container, or deleted"
            raise invalid_state(f"{what}; delete its containers first: {', '.join(users)}")
        if name in self._records:
            await asyncio.to_thread(records.clear, self._records[name])
        await asyncio.to_thread(self._store.delete, name)
        self._records.pop(name, None)
        self._corrupt.pop(name, None)

    async def prune(self) -> Pruned:
        """Remove every volume that no container refers to; free space of the others' disks goes back to the host."""
        await self._loaded.wait()
        deleted: list[str] = []
        failed: dict[str, str] = {}
        reclaimed = 0
        for name in sorted(self._records):
            if await self._users(name):
                reclaimed += await asyncio.to_thread(_trim, self._records[name])
                continue
            try:
                size = await asyncio.to_thread(records.allocated, self._records[name])
                await self.delete(name)
            except ContainerError as error:
                failed[name] = error.describe()
            else:
                deleted.append(name)
                reclaimed += size
        return Pruned(deleted, failed, reclaimed)

    async def resolve(self, mounts: list[Mount]) -> tuple[list[Mount], list[str]]:
        """The mounts with their volumes' sources, and the names of the volumes that had to be made for them.

        The caller has made sure that `users` knows of them. Anonymous ones have names already (`name_anonymous`).
        """
        await self._loaded.wait()
        made: list[str] = []
        resolved: list[Mount] = []
        for mount in mounts:
            if mount.kind != VOLUME:
                resolved.append(mount)
                continue
            record, new = await self._ensure(mount.detail["name"], bool(mount.detail.get("anonymous")))
            if new and not mount.detail.get("anonymous"):
                made.append(record.name)
            resolved.append(replace(mount, source=record.source, detail=_detail(record)))
        return resolved, made

    async def _ensure(self, name: str, anonymous: bool) -> tuple[VolumeConfiguration, bool]:
        async with self._changing:
            if name in self._corrupt:
                raise internal(f"volume '{name}' cannot be loaded: {self._corrupt[name]}")
            if name in self._records:
                return self._records[name], False
            labels = {ANONYMOUS_LABEL: ""} if anonymous else {}
            request = VolumeRequest(name, labels=labels)
            made = await self._tasks.complete(self._create(request), f"the creation of volume {name}")
            return made.configuration, True

    async def sizes(self) -> dict[str, int]:
        """Allocated bytes of every volume, by name."""
        await self._loaded.wait()
        known = dict(self._records)
        return await asyncio.to_thread(lambda: {name: records.allocated(record) for name, record in known.items()})

    async def list(self) -> list[Volume]:
        """Every volume, sorted by id."""
        await self._loaded.wait()
        return [Volume(name, record) for name, record in sorted(self._records.items())]


def _detail(record: VolumeConfiguration) -> dict[str, object]:
    """A mount's description of its volume (contract 3.1)."""
    return {"name": record.name, "format": record.format, "cache": {"on": {}}, "sync": {"fsync": {}}}


def _trim(record: VolumeConfiguration) -> int:
    """Bytes given back. A disk that cannot be trimmed is no reason to stop."""
    if record.format != BLOCK_FORMAT:
        return 0
    try:
        return space.trim(record.source)
    except OSError as error:
        _log.warning("volume %s: its free space cannot be given back: %s", record.name, error.strerror)
        return 0
