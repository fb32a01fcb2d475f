"""`container-supervisor`: the process that starts, watches and restarts the services of one system.

Exactly one runs per run root: it holds the lock `supervisor.lock` there for its life. It outlives the API server,
which finds its services again in the list. TERM, INT and `Exit` stop all services in good order. If it is killed
itself, every service gets TERM from the kernel (PR_SET_PDEATHSIG) and ends, containers too, so that nothing runs
unsupervised; a successor kills what did not heed that, before it serves.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import stat
import sys

from container import log, paths
from container.errors import ContainerError, ErrorCode
from container.ipc import address
from container.ipc.server import serve, stop_on_signals
from container.linux.process import become_subreaper
from container.paths import Roots
from container.supervisor.handler import SupervisorHandler
from container.supervisor.reaper import Reaper
from container.supervisor.service import Supervision, end_leftovers

LOCK = "supervisor.lock"
RECORD = "supervisor.services"
_PREDECESSOR_SECONDS = 30


async def supervise(roots: Roots, ready: int | None) -> None:
    """Serve until told to end; `ready` is a pipe that gets a line when clients can connect."""
    become_subreaper()
    record = os.path.join(roots.run, RECORD)
    told = stop_on_signals()
    ended = asyncio.Event()
    with Reaper() as reaper:
        await end_leftovers(record)
        _remove_sockets(roots.run)
        async with asyncio.TaskGroup() as tasks:
            supervision = Supervision(tasks, reaper, ended, record)
            server = await serve([SupervisorHandler(supervision)], service=paths.SUPERVISOR, roots=roots)
            async with server:
                if ready is not None:
                    os.write(ready, b"ready\n")
                    os.close(ready)
                stopper = tasks.create_task(_exit_when(told, supervision))
                await ended.wait()
                stopper.cancel()
                await server.drain()


def _remove_sockets(directory: str) -> None:
    """Remove those of a supervisor that was killed: nobody listens on them any more."""
    with os.scandir(directory) as entries:
        for path in [entry.path for entry in entries if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)]:
            os.unlink(path)


async def _exit_when(told: asyncio.Event, supervision: Supervision) -> None:
    await told.wait()
    await supervision.exit()


def lock(roots: Roots) -> int:
    """Hold the run root's lock; a predecessor that is ending is waited for. Raises ContainerError(exists)."""
    address.make_run_root(roots.run)
    fd = os.open(os.path.join(roots.run, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(_PREDECESSOR_SECONDS)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    finally:
        signal.alarm(0)
    return fd


def _too_late(number: int, frame: object) -> None:
    raise ContainerError(
        ErrorCode.EXISTS, "cannot start the supervisor: another one runs on this run root and does not end"
    )


def daemonise(keep: int | None) -> None:
    """Leave the launcher behind: it waits for the first process only, and no session leader goes on.

    Descriptors that the launcher happened to have open are closed, but for standard streams and `keep`.
    """
    if os.fork() != 0:
        os._exit(0)
    first = 3
    if keep is not None:
        os.closerange(3, keep)
        first = keep + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")


def main() -> int:
    """`--daemon`: go to the background; `--ready FD`: write a line there when serving."""
    arguments = sys.argv[1:]
    ready = int(arguments[arguments.index("--ready") + 1]) if "--ready" in arguments else None
    if "--daemon" in arguments:
        daemonise(ready)
    if ready is not None:
        os.set_inheritable(ready, False)
    log.setup()
    roots = Roots.from_environment()
    try:
        lock(roots)
        asyncio.run(supervise(roots, ready))
    except (ContainerError, OSError) as error:
        text = f"failed to run the supervisor in {roots.run}: {error}"
        sys.stderr.write(text + "\n")
        if ready is not None:
            with contextlib.suppress(OSError):
                os.write(ready, text.encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
