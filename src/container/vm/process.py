"""A child process that dies with us, watched by a pidfd (pidfd_open(2)), its first messages kept.

It is started through setpriv(1), which sets PR_SET_PDEATHSIG: that signal comes when the *thread* that forked ends, so
`Child.start` belongs on the main thread.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Sequence

from container.errors import ContainerError, ErrorCode, internal, os_reason

MESSAGES_MAX = 64 * 1024  # bytes of stderr that are kept, the first ones
_TICKS = os.sysconf("SC_CLK_TCK")  # a second
_DEATH_TIMEOUT = 10.0  # seconds from SIGKILL to the end of a process


class Child:
    """One child process; `close` ends it whatever it does."""

    def __init__(self, process: "subprocess.Popen[bytes]", pidfd: int, messages: int) -> None:
        self.pid = process.pid
        self._process = process
        self._pidfd = pidfd
        self._messages = messages
        self._said: str | None = None  # the messages, once their file is closed
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()  # exit status, negative = signal
        self._loop.add_reader(pidfd, self._reap)

    @classmethod
    def start(cls, argv: Sequence[str], pass_fds: Sequence[int], stderr: int | None = None) -> "Child":
        """Run `argv` with nothing as its input; inherits `pass_fds` under their own numbers.

        What it writes is kept, unless there is another place for its standard error, `stderr`.

        Raises ContainerError: unsupported when the program (or setpriv) is missing, else internal.
        """
        program, setpriv = find(argv[0]), find("setpriv")
        with contextlib.ExitStack() as stack:
            try:
                messages = _bounded_file()
                stack.callback(os.close, messages)
                process = subprocess.Popen(
                    [setpriv, "--pdeathsig", "KILL", "--", program, *argv[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=messages,
                    stderr=messages if stderr is None else stderr,
                    pass_fds=pass_fds,
                    process_group=0,  # a signal for our group is ours to hand on
                )
                stack.callback(_destroy, process)
                pidfd = os.pidfd_open(process.pid)
                stack.callback(os.close, pidfd)
            except OSError as error:
                raise internal(f"cannot start {program}: {os_reason(error)}") from error
            child = cls(process, pidfd, messages)
            stack.pop_all()
            return child

    async def wait(self, timeout: float | None = None) -> int | None:
        """Exit status when it ended within `timeout` seconds, else None."""
        await asyncio.wait([self.ended], timeout=timeout)
        return self.ended.result() if self.ended.done() else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def processor_time(self) -> tuple[float, float]:
        """Seconds for which its threads have had a processor, and have waited for one; 0 and 0 once it has ended.

        See proc_pid_stat(5), and sched-stats.rst of Linux: a kernel without that tells of no wait.
        """
        waited = 0
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{self.pid}/task/{thread}/schedstat", "rb") as file:
                    waited += int(file.read().split()[1])
        except OSError:
            return 0.0, 0.0
        return (int(fields[11]) + int(fields[12])) / _TICKS, waited / 1e9

    def messages(self) -> str:
        """What it wrote to its standard output and error, the first MESSAGES_MAX bytes."""
        if self._said is not None:
            return self._said
        data = os.pread(self._messages, MESSAGES_MAX, 0)
        return data.rstrip(b"\0").decode(errors="replace").strip()

    async def close(self) -> None:
        """KILL it if it still runs, reap it, close the descriptors; complete even when cancelled meanwhile."""
        try:
            self.send(signal.SIGKILL)
            await self.wait(_DEATH_TIMEOUT)
        finally:
            if not self.ended.done():  # cancelled, or it does not die
                select.select([self._pidfd], [], [], _DEATH_TIMEOUT)
                self._reap()
            os.close(self._pidfd)
            self._said = self.messages()
            os.close(self._messages)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        status = self._process.poll()
        if not self.ended.done():
            self.ended.set_result(-signal.SIGKILL if status is None else status)


def find(program: str) -> str:
    """Path of a program. Raises ContainerError(unsupported) that names the package it comes in."""
    path = shutil.which(program)
    if path is None:
        package = _PACKAGES.get(program, program)
        message = f"{program} is not installed: install it (Debian, Ubuntu: apt-get install {package})"
        raise ContainerError(ErrorCode.UNSUPPORTED, message)
    return path


_PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}


def _bounded_file() -> int:
    """An anonymous file that takes MESSAGES_MAX bytes and not one more (memfd_create(2), F_SEAL_GROW)."""
    fd = os.memfd_create("messages", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, MESSAGES_MAX)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _destroy(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
