"""The end of the program: what is printed is out, and the exit code tells when it could not be."""

from __future__ import annotations

import os
import signal
import stat
import sys

from container.cli import failures, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

FAILURE_EXIT = 1
BROKEN_PIPE_EXIT = 141
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def leave(code: int) -> NoReturn:
    """Exit without taking the interpreter apart first, which would take as long as a small command."""
    try:
        if sys.stdout is not None:  # it is, when descriptor 1 is closed
            sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE_EXIT
    except OSError as error:
        output.error_line(failures.text(error))
        code = code or FAILURE_EXIT
    os._exit(code)


def catch_ending_signals() -> None:
    """Have the signals that end a command do so by an exception, so that the terminal is put back in order."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) has it
            signal.signal(number, _terminate)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise failures.Exit(128 + number)


def watch_output() -> None:
    """Have SIGPIPE as soon as nobody reads standard output any more, not only at the next write."""
    mode = os.fstat(1).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        from _thread import get_ident, start_new_thread

        start_new_thread(_wait_for_the_last_reader, (get_ident(),))


def broken_pipe(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that ends the command as a write to a broken pipe does."""
    raise failures.Exit(BROKEN_PIPE_EXIT)


def _wait_for_the_last_reader(main: int) -> None:
    from select import poll

    waiter = poll()
    waiter.register(1, 0)  # POLLERR and POLLHUP always count
    waiter.poll()
    signal.pthread_kill(main, signal.SIGPIPE)
