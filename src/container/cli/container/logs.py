"""`container logs [--boot] [-f] [-n N] ID`."""

from __future__ import annotations

import signal
import sys

from container.cli import client, failures, leave, logfile
from container.cli.spec import Argument, Command, Option, Values, flag, integer
from container.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def _count(text: str) -> int:
    number = integer(text)
    if number < 0:
        raise ValueError("")
    return number


def run(values: Values) -> int:
    """Print what the process of a container wrote during its last start."""
    try:
        files = client.call("Containers.Logs", {"id": values.id})["files"]
    except ContainerError as error:
        raise failures.because(f"failed to get logs for container {values.id}", error) from error
    decode: Callable[[Iterable[bytes]], Iterator[bytes]] = iter if values.boot else logfile.decode
    show(files["boot" if values.boot else "stdio"], decode, count=values.lines, follow=values.follow)
    return 0


def show(path: str, decode: Callable[[Iterable[bytes]], Iterator[bytes]], *, count: int | None, follow: bool) -> None:
    """Copy a log to standard output: all of it or its last lines, then, with `follow`, what is appended."""
    with logfile.Log(path) as log:
        text = decode(log.read())
        if count is not None:
            _print(logfile.last_lines(text, count))
        elif follow:
            _print(text)
        else:
            _print(logfile.trim(text))
        if follow:
            signal.signal(signal.SIGPIPE, leave.broken_pipe)
            leave.watch_output()
            _print(decode(log.follow()))


def _print(chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


COMMAND = Command(
    "Show the output of a container",
    run,
    options=[
        flag("boot", "--boot", "Show the boot log of the guest"),
        flag("follow", "-f, --follow", "Go on with what is written, until interrupted"),
        Option("lines", "-n", "Only the last lines that are not empty", value="count", parse=_count),
    ],
    arguments=[Argument("id", "container-id", "The container")],
)
