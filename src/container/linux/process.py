"""Starting processes: fork(2) and execve(2) with descriptors in place, a session of its own, prctl(2) settings.

subprocess can neither put descriptors at given numbers, nor set LISTEN_PID, nor a parent-death signal without a
`preexec_fn`, which is this with more steps.
"""

import ctypes
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Adopt orphaned descendants instead of init (PR_SET_CHILD_SUBREAPER). Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send this process `number` when the thread that forked it ends (PR_SET_PDEATHSIG).

    Raises OSError. A parent that is gone already is not noticed: compare getppid(2) afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def spawn(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    fds: Mapping[int, int],
    new_session: bool = True,
    death_signal: int | None = None,
    listen_pid: bool = False,
) -> int:
    """Start `argv[0]` (an absolute path) in `/` and return its pid, once the execve(2) succeeded. Raises OSError.

    `fds` maps the child's descriptor numbers to ours; all others from 3 on are closed. `new_session`: it leads a
    session and process group of its own. `death_signal`: what it gets when the calling thread ends.
    `listen_pid`: LISTEN_PID is its pid (sd_listen_fds(3)). The caller has one thread and waits for the child.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _child(argv, dict(environment), fds, write_end, new_session, death_signal, parent, listen_pid)
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    with open(read_end, "rb") as pipe:
        failure = pipe.read()
    if failure:
        os.waitpid(pid, 0)
        raise OSError(int(failure), os.strerror(int(failure)), argv[0])
    return pid


def _child(
    argv: Sequence[str],
    environment: dict[str, str],
    fds: Mapping[int, int],
    failure: int,
    new_session: bool,
    death_signal: int | None,
    parent: int,
    listen_pid: bool,
) -> NoReturn:
    try:
        failure = settle(fds, failure, new_session=new_session)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if death_signal is not None:
            die_with(parent, death_signal)
        if listen_pid:
            environment["LISTEN_PID"] = str(os.getpid())
        os.execve(argv[0], list(argv), environment)  # noqa: S606
    except OSError as error:
        os.write(failure, str(error.errno).encode())
    finally:
        os._exit(127)


def settle(fds: Mapping[int, int], keep: int | None = None, *, new_session: bool = True) -> int:
    """Make of a fresh fork what a service expects: own session, descriptors as in `spawn`, no signal blocked, `/`.

    Of all other descriptors from 3 on only `keep` stays open; returns its new number. What signals do is left alone: a
    fork that goes on in Python must ignore SIGPIPE as every interpreter does. Raises OSError.
    """
    if new_session:
        os.setsid()
    kept = _place(fds, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if keep is None else keep)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.chdir("/")
    if keep is None:
        os.close(kept)
    return kept


def die_with(parent: int, number: int) -> None:
    """`die_with_parent`, for a child of `parent`: exits at once when that has ended already. Raises OSError."""
    die_with_parent(number)
    if os.getppid() != parent:
        os._exit(127)


def _place(fds: Mapping[int, int], failure: int) -> int:
    """Put each descriptor at its number and close all others; first all go out of the way, for numbers may overlap."""
    above = max(fds, default=2) + 1
    failure = fcntl.fcntl(failure, fcntl.F_DUPFD_CLOEXEC, above)
    moved = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, above) for target, source in fds.items()}
    for target, source in moved.items():
        os.dup2(source, target, inheritable=True)
    for fd in range(3, above):
        if fd not in fds:
            os.closerange(fd, fd + 1)
    os.closerange(above, failure)
    os.closerange(failure + 1, os.sysconf("SC_OPEN_MAX"))
    return failure
