"""All jobs of one system: what `io.container.Supervisor` does."""

import asyncio
import contextlib
import json
import logging
import os
import signal
from dataclasses import dataclass

from container import paths
from container.errors import ContainerError, ErrorCode, invalid_argument, not_found
from container.linux import pidfd
from container.log import fields
from container.model.job import Job, JobStatus
from container.supervisor.forks import Forks
from container.supervisor.reaper import Reaper
from container.supervisor.supervised import Supervised

_LEFTOVER_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass
class _Entry:
    supervised: Supervised
    task: "asyncio.Task[None]"
    leaving: bool = False


class Supervision:
    """Owns the jobs; their tasks live in `tasks`. `stop` is set when `exit` is through.

    `record` is the path of a file with the pids of what runs, for a successor after a violent death.
    """

    def __init__(self, tasks: asyncio.TaskGroup, reaper: Reaper, stop: asyncio.Event, record: str) -> None:
        self._tasks = tasks
        self._reaper = reaper
        self._stop = stop
        self._record = record
        self._forks = Forks()
        self._jobs: dict[str, _Entry] = {}
        self._running: dict[str, list[int]] = {}
        self._exiting = False
        self._exited = asyncio.Event()

    def register(self, job: Job) -> None:
        """See the interface."""
        _check(job)
        if self._exiting:
            raise ContainerError(ErrorCode.INVALID_STATE, f"failed to register {job.label}: the supervisor is ending")
        entry = self._jobs.get(job.label)
        if entry is not None:
            if entry.supervised.job == job and not entry.leaving:
                return
            raise ContainerError(ErrorCode.EXISTS, f"the service {job.label} is already registered")
        supervised = Supervised(job, self._reaper, self._forks, self._note)
        self._jobs[job.label] = _Entry(supervised, self._tasks.create_task(supervised.run()))
        _log.info("registered service", extra=fields(label=job.label))

    async def deregister(self, label: str) -> None:
        """See the interface; a caller that goes away does not keep it from happening."""
        entry = self._entry(label)
        entry.leaving = True
        await asyncio.shield(self._tasks.create_task(self._remove(label, entry)))

    async def _remove(self, label: str, entry: _Entry) -> None:
        await entry.supervised.stop()
        if self._jobs.get(label) is not entry:
            return
        entry.task.cancel()
        await asyncio.wait([entry.task])
        entry.supervised.close()
        del self._jobs[label]
        _log.info("deregistered service", extra=fields(label=label))

    def start(self, label: str) -> None:
        """See the interface."""
        self._entry(label).supervised.start()

    async def stop(self, label: str) -> None:
        """See the interface."""
        await self._entry(label).supervised.stop()

    def list(self) -> list[JobStatus]:
        """See the interface."""
        return [self._jobs[label].supervised.status() for label in sorted(self._jobs)]

    async def exit(self) -> None:
        """Deregister everything, the API server first, end what they left behind, and set `stop`."""
        if not self._exiting:
            self._exiting = True
            self._tasks.create_task(self._exit())
        await self._exited.wait()

    async def _exit(self) -> None:
        first = self._jobs.get(paths.APISERVER)
        if first is not None:
            await self._remove(paths.APISERVER, first)
        async with asyncio.TaskGroup() as group:
            for label, entry in self._jobs.items():
                group.create_task(self._remove(label, entry))
        self._forks.close()
        await self._reaper.end_children(_LEFTOVER_SECONDS)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._record)
        self._exited.set()
        self._stop.set()

    def _entry(self, label: str) -> _Entry:
        entry = self._jobs.get(label)
        if entry is None:
            raise not_found(f"the service {label} is not registered")
        return entry

    def _note(self, label: str, pid: int | None) -> None:
        """Keep the record of what runs up to date. A full disk is no reason to end what runs: see `end_leftovers`."""
        self._running.pop(label, None)
        if pid is not None:
            self._running[label] = [pid, pidfd.start_time(pid) or 0]
        temporary = self._record + ".new"
        try:
            with open(temporary, "w", encoding="ascii") as file:
                json.dump(self._running, file)
            os.replace(temporary, self._record)
        except OSError as error:
            _log.warning("cannot keep the record of what runs, %s: %s", self._record, error.strerror)


def _check(job: Job) -> None:
    if not job.label or "/" in job.label:
        raise invalid_argument(f"invalid service label '{job.label}'")
    for path in (job.program, *job.sockets, *([job.log_path] if job.log_path else [])):
        if not os.path.isabs(path):
            raise invalid_argument(f"{job.label}: the path '{path}' is not absolute")
    if job.throttle <= 0 or job.stop_timeout < 0:
        raise invalid_argument(f"{job.label}: throttle must be above and stop_timeout at least 0")


async def end_leftovers(record: str) -> None:
    """End the services of a supervisor that was killed: they got TERM by its death; KILL what is there after 5 s."""
    async with asyncio.TaskGroup() as group:
        for label, (pid, started) in _read_record(record).items():
            group.create_task(_end_leftover(label, pid, started))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(record)


def _read_record(record: str) -> dict[str, tuple[int, int]]:
    try:
        with open(record, encoding="ascii") as file:
            return {label: (int(pid), int(started)) for label, (pid, started) in json.load(file).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        _log.warning("ignoring the record of an earlier supervisor, %s: %s", record, error)
        return {}


async def _end_leftover(label: str, pid: int, started: int) -> None:
    fd = pidfd.open_process(pid, started)
    if fd is None:
        return
    try:
        _log.warning("ending a service of an earlier supervisor", extra=fields(label=label, pid=pid))
        await pidfd.end_process(fd, _LEFTOVER_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    finally:
        os.close(fd)
