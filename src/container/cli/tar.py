"""`container-tar`, the C program at the host's end of a copy: started with a pipe, and told apart how it failed."""

from __future__ import annotations

import os
import signal
from select import select

import container
from container.errors import ContainerError, ErrorCode, internal, os_reason

PROGRAM = os.path.join(os.path.dirname(container.__file__), "_native", "container-tar")
PIPE_SIZE = 1 << 20
F_SETPIPE_SZ = 1031
CLEAN_UP = 5.0  # seconds


class Tar:
    """A running `container-tar`; `pipe` is this process's end of its stream, to be handed on. A context manager.

    `pack PATH` writes the stream, `unpack PATH NAME` reads it and says where the copy is. It ends with a copy that is
    given up: `pack` has no reader then, `unpack` no more input, and removes the file that is half written. So Ctrl-C is
    not for it.
    """

    def __init__(self, *arguments: str) -> None:
        """Raises ContainerError(internal) when it cannot be started."""
        self._stdin = arguments[0] == "unpack"
        read_end, write_end = os.pipe()
        self.pipe, theirs = (write_end, read_end) if self._stdin else (read_end, write_end)
        _widen(self.pipe)
        self._said, saying = os.memfd_create("said"), os.memfd_create("saying")
        streams = {0: theirs, 1: self._said, 2: saying} if self._stdin else {1: theirs, 2: saying}
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in streams.items()]
        try:
            self._pid = os.posix_spawn(
                PROGRAM,
                [PROGRAM, *arguments],
                os.environ,
                file_actions=actions,
                setsigdef=[signal.SIGPIPE, signal.SIGTERM],
                setsigmask=[signal.SIGINT],
            )
        except OSError as error:
            self._pid = 0
            raise internal(f"cannot start {PROGRAM}: {os_reason(error)}; build it with `make -C native`") from error
        finally:
            os.close(theirs)
        self._errors = saying

    def __enter__(self) -> Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_on()
        if self._pid:
            self._end()
        os.close(self._said)
        os.close(self._errors)

    def hand_on(self) -> None:
        """Close the pipe, which somebody else has by now."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    def finish(self) -> ContainerError | None:
        """Wait for its end; how it failed by itself. One that lost its peer did not: the peer says why."""
        self.hand_on()
        status = self._wait()
        if status == 0 or status < 0:
            return None
        code, _, text = _contents(self._errors).partition("\n")
        return ContainerError(ErrorCode.parse(code), text.strip() or f"cannot copy: {PROGRAM} failed without a word")

    def place(self) -> str:
        """Where the copy is."""
        return _contents(self._said)

    def _end(self) -> None:
        """Let it clean up, for a moment."""
        pidfd = os.pidfd_open(self._pid)
        ended, _, _ = select([pidfd], [], [], CLEAN_UP)
        os.close(pidfd)
        if not ended:
            os.kill(self._pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> int:
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        return status


def _contents(fd: int) -> str:
    return os.fsdecode(os.pread(fd, 1 << 16, 0))


def _widen(pipe: int) -> None:
    import contextlib
    from fcntl import fcntl

    with contextlib.suppress(OSError):  # the user's quota of large pipes is used up: the default size works, too
        fcntl(pipe, F_SETPIPE_SZ, PIPE_SIZE)
