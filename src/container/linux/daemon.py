"""Processes that outlive the one that started them: named by process id and start time, watched by pidfd."""

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence

from container.linux import pidfd


class Daemon:
    """A handle on a process, which may be no child of this one. The handle is closed by `close`, not the process."""

    def __init__(self, pid: int, start_time: int, fd: int) -> None:
        self.pid = pid
        self.start_time = start_time
        self._pidfd = fd

    @classmethod
    def find(cls, pid: int, start_time: int | None = None) -> "Daemon | None":
        """The live process `pid`, None when it has ended or did not start at `start_time`."""
        started = pidfd.start_time(pid) if start_time is None else start_time
        fd = None if started is None else pidfd.open_process(pid, started)
        return None if started is None or fd is None else cls(pid, started, fd)

    async def wait(self) -> None:
        """Return when the process has ended; reaps it if it is a child of this one."""
        await pidfd.wait_ended(self._pidfd)
        self._reap()

    async def stop(self, grace: float = 2.0) -> None:
        """TERM, and KILL after `grace` seconds; returns when it has ended."""
        await pidfd.end_process(self._pidfd, grace)
        self._reap()

    def close(self) -> None:
        """Forget the process, which goes on."""
        os.close(self._pidfd)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)


def spawn(
    program: str, arguments: Sequence[str], fds: Iterable[int], environment: Mapping[str, str], stdio: int | None = None
) -> Daemon:
    """Start a program in a session of its own, with `fds` open under their numbers.

    `stdio` is its standard input, output and error; without it they are /dev/null, twice, and this process's standard
    error. Raises OSError.
    """
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_DUP2, fd, fd)  # onto itself: clears close-on-exec
        for fd in fds
    ]
    if stdio is None:
        actions += [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1)]
    else:
        actions += [(os.POSIX_SPAWN_DUP2, stdio, fd) for fd in (0, 1, 2)]
    pid = os.posix_spawn(
        program,
        [program, *arguments],
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM),
    )
    return Daemon(pid, pidfd.start_time(pid) or 0, os.pidfd_open(pid))
