"""Jobs of the supervisor: what a launchd plist or a systemd unit says of a service."""

import enum
from dataclasses import dataclass, field


class JobState(enum.Enum):
    """`waiting`: registered, started by the first client that connects to its socket."""

    WAITING = "waiting"
    RUNNING = "running"
    BACKING_OFF = "backingOff"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Job:
    """A service under supervision.

    `sockets` are the paths of listening unix sockets that the supervisor owns and hands over by the
    LISTEN_FDS protocol (sd_listen_fds(3)). `throttle` is the shortest time in seconds between two starts;
    `stop_timeout` the seconds between SIGTERM and SIGKILL.
    """

    label: str
    program: str
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    sockets: list[str] = field(default_factory=list)
    keep_alive: bool = False  # restart it when it ends without being told to
    run_at_load: bool = False  # else on the first connection to one of its sockets
    throttle: float = 1.0
    stop_timeout: float = 10.0
    log_path: str | None = None  # stdout and stderr are appended here
    module: str | None = None  # Python module behind `-m` in `arguments`: a fork of a process that has it will do, too


@dataclass(frozen=True)
class JobStatus:
    """A job as the supervisor sees it; `exit_status` as waitstatus_to_exitcode: negative = signal."""

    job: Job
    state: JobState
    pid: int | None = None
    exit_status: int | None = None
    starts: int = 0
    reason: str | None = None  # why it is not running though it should be, or how its last run went wrong
