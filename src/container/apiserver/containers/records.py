"""Records of containers on disk: `containers/<id>/config.json`, and how the last run ended beside it."""

import contextlib
import os
from dataclasses import dataclass

from container import paths
from container.errors import ContainerError
from container.model import codec
from container.model.container import ContainerConfiguration, ContainerState, ContainerStatus
from container.model.event import LogFiles
from container.model.image import Rootfs
from container.paths import Roots
from container.store import atomic
from container.store.entities import Entities, Loaded
from container.store.leftovers import Leftovers
from container.supervisor.servicelog import remove_log

DEFAULT_RUNTIME = "container-runtime-linux"


@dataclass(frozen=True)
class ContainerRecord:
    """What a container is; `rootfs` was made at its creation, so that a start needs no image helper."""

    configuration: ContainerConfiguration
    rootfs: Rootfs


class ContainerRecords:
    """The bundles of a system. Every method blocks on local I/O."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        root = os.path.join(roots.app, "containers")
        self._entities = Entities(root, ContainerRecord, "container", filename="config.json")

    def load_all(self) -> Loaded[ContainerRecord]:
        """Every record, and what could not be read."""
        return self._entities.load_all()

    def create(self, record: ContainerRecord) -> None:
        """Make the bundle. Raises ContainerError(exists) `container already exists: X`."""
        self._entities.create(record.configuration.id, record)

    def delete(self, id: str, runtime: str = DEFAULT_RUNTIME) -> None:
        """Remove the bundle with all that is in it, and the log of its runtime helper. Raises ContainerError."""
        self.remove_sockets(id)
        self._entities.delete(id)
        remove_log(os.path.join(self._roots.log, f"{paths.runtime_service(runtime, id)}.log"))

    def logs(self, id: str) -> LogFiles:
        """Where the logs of a container are."""
        bundle = self._roots.bundle(id)
        return LogFiles(stdio=os.path.join(bundle, "stdio.log"), boot=os.path.join(bundle, "boot.log"))

    def outcome(self, id: str) -> ContainerStatus | None:
        """How the last run ended, as its runtime helper wrote it down; None when it did not get to that."""
        try:
            status = codec.decode(ContainerStatus, atomic.read_json(self._status_path(id)), "status")
        except ContainerError:
            return None
        return status if status.state is ContainerState.STOPPED else None

    def forget_outcome(self, id: str) -> None:
        """Remove what `outcome` reads, before a new run."""
        with contextlib.suppress(OSError):
            os.unlink(self._status_path(id))

    def remove_sockets(self, id: str) -> None:
        """Remove the sockets of the host that a runtime helper published and had no time to remove."""
        Leftovers(os.path.join(self._roots.bundle(id), paths.SOCKETS_RECORD)).remove()

    def _status_path(self, id: str) -> str:
        return os.path.join(self._roots.bundle(id), "status.json")
