"""One container in memory: its record, how it last ended, and its run while there is one."""

import asyncio

from container.apiserver.containers.records import ContainerRecord
from container.apiserver.containers.run import Run
from container.errors import ContainerError, invalid_state
from container.model.container import ContainerConfiguration, ContainerSnapshot, ContainerState, ContainerStatus
from container.model.signals import parse_signal

SIGTERM = 15


class Container:
    """`run` is None when the container is stopped and cleaned up. `removal` is set once it is being removed."""

    def __init__(self, record: ContainerRecord, last: ContainerStatus | None = None) -> None:
        self.record = record
        self.last = last or ContainerStatus(ContainerState.STOPPED)
        self.run: Run | None = None
        self.removal: asyncio.Future[None] | None = None
        self.read = False  # a machine has its disk, to read its files

    def check_unread(self) -> None:
        """Raise ContainerError(invalidState) while the files of the stopped container are being read."""
        if self.read:
            raise invalid_state(
                f"the files of container {self.id} are being read; try again when its export or commit has ended"
            )

    @property
    def id(self) -> str:
        """The id."""
        return self.record.configuration.id

    @property
    def configuration(self) -> ContainerConfiguration:
        """The recorded configuration."""
        return self.record.configuration

    @property
    def status(self) -> ContainerStatus:
        """The status as users see it."""
        return self.last if self.run is None else self.run.status

    @property
    def stop_signal(self) -> int:
        """Number of the image's stop signal; SIGTERM without one, or with one that is none."""
        try:
            return parse_signal(self.configuration.stop_signal or "TERM")
        except ContainerError:
            return SIGTERM

    @property
    def snapshot(self) -> ContainerSnapshot:
        """The container as `list` and `inspect` show it."""
        return ContainerSnapshot(self.id, self.configuration, self.status)
