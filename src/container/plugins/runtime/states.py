"""The states of one run of a container. Each carries what it needs, so that "running without a guest" cannot be said.

Waiting ── start ──▶ Booting ──▶ Running ── stop, or the process ended ──▶ Stopping ──▶ Stopped
   └──────────────────────┴─────────────────────── stop, failure ─────────────────────────▲
"""

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from container.model.container import ContainerState, ContainerStatus
from container.model.launch import Launch
from container.model.network import Attachment

if TYPE_CHECKING:
    from container.guest.client import GuestClient
    from container.plugins.runtime.process import ContainerProcess


@dataclass(frozen=True)
class Waiting:
    """The helper serves, nothing was asked of it."""


@dataclass(frozen=True)
class Booting:
    """Resources are being gathered, or the machine boots; a start that hangs gets a second `attempt`."""

    launch: Launch
    attempt: int = 1


@dataclass(frozen=True)
class Running:
    """The init process was started."""

    launch: Launch
    guest: "GuestClient"
    init: "ContainerProcess"
    attachments: list[Attachment]
    started_date: str
    execs: dict[str, "ContainerProcess"] = field(default_factory=dict)
    unresponsive_since: str | None = None  # when its guest stopped to answer, if it does not

    def unresponsive(self, since: str | None) -> "Running":
        """The same with a guest that has not answered since then, or answers again."""
        return replace(self, unresponsive_since=since)


@dataclass(frozen=True)
class Stopping:
    """The init process was told to end, or has ended and the rest is being cleaned up."""

    running: Running


@dataclass(frozen=True)
class Stopped:
    """Nothing is left but the status."""

    status: ContainerStatus


State = Waiting | Booting | Running | Stopping | Stopped


def now() -> str:
    """The date, as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def ended(started_date: str | None, exit_code: int | None, reason: str | None) -> ContainerStatus:
    """The status of a run that ends now; the date is left out for one that did not begin."""
    exited_date = now() if started_date else None
    return ContainerStatus(
        ContainerState.STOPPED, started_date=started_date, exit_code=exit_code, reason=reason, exited_date=exited_date
    )


def status_of(state: State) -> ContainerStatus:
    """What users see. Before the init process runs that is `unknown`: `stopped` is the end of a run."""
    match state:
        case Running():
            since = state.unresponsive_since
            return ContainerStatus(
                ContainerState.RUNNING, state.attachments, state.started_date, unresponsive_since=since
            )
        case Stopping(running):
            return ContainerStatus(ContainerState.STOPPING, running.attachments, running.started_date)
        case Stopped(status):
            return status
        case Booting(_, attempt) if attempt > 1:
            return ContainerStatus(ContainerState.UNKNOWN, start_attempt=attempt)
        case _:
            return ContainerStatus(ContainerState.UNKNOWN)
