"""One job under supervision: the state machine that starts it, watches it, restarts it and stops it.

    waiting|stopped ── asked, or a client connects ──▶ running ── told to stop ──▶ waiting|stopped
           ▲                                              │ ended by itself
           └──────── not keep_alive ◀─────────────────────┤
                     keep_alive ──▶ backingOff ──▶ running┘

Two starts are `throttle` seconds apart; that doubles with every run that failed early, up to `BACK_OFF_MAX`, and is
forgotten after a run of `HEALTHY` seconds. Clients wait in the sockets' backlog meanwhile; after `HOPELESS` failures
in a row, or when the program cannot be executed at all, they are hung up on instead.
"""

import asyncio
import contextlib
import enum
import logging
import os
import signal
import time
from collections.abc import Callable

from container.errors import os_reason
from container.linux.process import spawn
from container.log import fields
from container.model.job import Job, JobState, JobStatus
from container.supervisor.forks import Forks
from container.supervisor.reaper import Reaper
from container.supervisor.servicelog import open_log
from container.supervisor.sockets import ListeningSockets

BACK_OFF_MAX = 30.0
HEALTHY = 5.0
HOPELESS = 3

_KILLED_SECONDS = 10.0
_BASE_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR")
_XDG_ENVIRONMENT = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
# Where credential helpers find the user's keyring, and docker its logins.
_KEYRING_ENVIRONMENT = (
    *("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GNUPGHOME"),
    *("PASSWORD_STORE_DIR", "DOCKER_CONFIG"),
)
_log = logging.getLogger(__name__)


class _Ask(enum.Enum):
    START = "start"
    STOP = "stop"


class Supervised:
    """A registered job; `run` is its life, in a task of its own. `started` is told each pid, and None at each end."""

    def __init__(self, job: Job, reaper: Reaper, forks: Forks, started: Callable[[str, int | None], None]) -> None:
        self.job = job
        self.state = JobState.STOPPED
        self._reaper = reaper
        self._forks = forks
        self._report = started
        self._sockets = ListeningSockets(job.sockets)
        self._ask: _Ask | None = _Ask.START if job.run_at_load else None
        self._asked = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pid: int | None = None
        self._exit_status: int | None = None
        self._starts = 0
        self._failures = 0
        self._not_before = 0.0
        self._reason: str | None = None

    def status(self) -> JobStatus:
        """The job as `List` shows it."""
        return JobStatus(self.job, self.state, self._pid, self._exit_status, self._starts, self._reason)

    def start(self) -> None:
        """Ask for a start now: back-off and earlier failures are forgotten."""
        if self.state != JobState.RUNNING:
            self._failures, self._not_before = 0, 0.0
            self._post(_Ask.START)

    async def stop(self) -> None:
        """Stop it; returns when it has ended: after TERM, or `stop_timeout` later after KILL."""
        self._post(_Ask.STOP)
        await self._idle.wait()

    def close(self) -> None:
        """Close the sockets of a job that is stopped and whose `run` has ended."""
        self._sockets.close()

    def _post(self, ask: _Ask) -> None:
        self._ask = ask
        if ask is _Ask.STOP and self.state != JobState.RUNNING:
            self._idle.set()
        self._asked.set()

    def _enter(self, state: JobState) -> None:
        self.state = state
        _log.debug("job is %s", state.value, extra=fields(label=self.job.label))

    async def run(self) -> None:
        """Wait for a reason to start, start, watch, again and again, until cancelled."""
        while True:
            await self._wait_for_reason()
            if await self._back_off():
                await self._run_once()

    async def _wait_for_reason(self) -> None:
        self._drop_ask(_Ask.STOP)
        if self._ask is None:
            self._enter(JobState.WAITING if self._sockets else JobState.STOPPED)
            while self._ask is not _Ask.START:
                with self._sockets.watched(self._client_waits):
                    await self._asked.wait()
                self._drop_ask(_Ask.STOP)
        self._drop_ask(_Ask.START)

    def _drop_ask(self, ask: _Ask) -> None:
        if self._ask is ask:
            self._ask = None
        self._asked.clear()
        if self._ask is not None:
            self._asked.set()

    def _client_waits(self) -> None:
        if self._ask is None:
            self._post(_Ask.START)

    async def _back_off(self) -> bool:
        """Let the time between starts pass; False when told to stop meanwhile."""
        while (left := self._not_before - time.monotonic()) > 0:
            self._enter(JobState.BACKING_OFF)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._asked.wait()
            if self._ask is _Ask.STOP:
                return False
            self._drop_ask(_Ask.START)
        return True

    async def _run_once(self) -> None:
        self._idle.clear()
        started = time.monotonic()
        told = False
        try:
            ended = self._spawn()
            if ended is not None:
                told = await self._watch(ended)
                self._ended(ended.result(), time.monotonic() - started, told)
        finally:
            self._pid = None
            self._report(self.job.label, None)
            self._idle.set()
        early = time.monotonic() - started < HEALTHY
        self._plan(started, told, early)

    def _spawn(self) -> "asyncio.Future[int] | None":
        job = self.job
        try:
            with contextlib.ExitStack() as stack:
                null = stack.enter_context(open(os.devnull, "rb"))
                log = stack.enter_context(open(open_log(job.log_path or os.devnull), "ab", buffering=0))
                environment = {**base_environment(), **job.environment, **self._sockets.environment()}
                fds = {0: null.fileno(), 1: log.fileno(), 2: log.fileno(), **self._sockets.fds()}
                self._pid = self._forks.start(job, environment, fds) or spawn(
                    [job.program, *job.arguments],
                    environment,
                    fds=fds,
                    death_signal=signal.SIGTERM,
                    listen_pid=bool(self._sockets),
                )
        except OSError as error:
            self._exit_status = None
            self._failures = max(self._failures + 1, HOPELESS)
            self._reason = f"failed to start {job.program}: {os_reason(error)}"
            _log.error("cannot start a job: %s", self._reason, extra=fields(label=job.label))
            return None
        self._starts += 1
        self._report(job.label, self._pid)
        ended = self._reaper.watch(self._pid)
        ended.add_done_callback(lambda _: self._asked.set())
        self._enter(JobState.RUNNING)
        return ended

    async def _watch(self, ended: "asyncio.Future[int]") -> bool:
        """Wait for the end; True when it was told to stop."""
        while not ended.done():
            await self._asked.wait()
            if self._ask is _Ask.STOP and not ended.done():
                await self._end(ended)
                return True
            self._drop_ask(_Ask.START)
        return self._ask is _Ask.STOP

    async def _end(self, ended: "asyncio.Future[int]") -> None:
        """The ladder. TERM is for the main process, which ends its children in good order; KILL for the group."""
        assert self._pid is not None
        for number, seconds in ((signal.SIGTERM, self.job.stop_timeout), (signal.SIGKILL, _KILLED_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if number == signal.SIGKILL else os.kill)(self._pid, number)
            await asyncio.wait([ended], timeout=seconds)
            if ended.done():
                return
        _log.error("a job does not die", extra=fields(label=self.job.label, pid=self._pid))
        await asyncio.wait([ended])

    def _ended(self, status: int, seconds: float, told: bool) -> None:
        self._exit_status = status
        if told or (status == 0 and not self.job.keep_alive):
            self._failures, self._reason = 0, None
            return
        self._failures = 1 if seconds >= HEALTHY else self._failures + 1
        how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"
        self._reason = f"{how} after {seconds:.1f} s"
        if self._failures > 1:
            self._reason += f", {self._failures} times in a row"
        _log.warning("a job %s", self._reason, extra=fields(label=self.job.label))

    def _plan(self, started: float, told: bool, early: bool) -> None:
        """Decide when the next start may be, and whether there is a reason for one already."""
        self._drop_ask(_Ask.STOP)
        if told:
            self._not_before = 0.0
            return
        exponent = self._failures - 1 if early and self._failures else 0
        self._not_before = started + min(self.job.throttle * 2**exponent, max(BACK_OFF_MAX, self.job.throttle))
        if self._failures >= HOPELESS:
            self._sockets.turn_away()
        if self.job.keep_alive and self._ask is None:
            self._post(_Ask.START)


def base_environment() -> dict[str, str]:
    """What a service gets of the supervisor's own environment, besides what its job says."""
    passed = _BASE_ENVIRONMENT + _XDG_ENVIRONMENT + _KEYRING_ENVIRONMENT
    return {name: os.environ[name] for name in passed if name in os.environ}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
