"""`container logs [--boot] [-f] [-n N] [--since TIME] [--until TIME] [-t] ID`."""

from __future__ import annotations

import signal
import sys

from container.cli import client, failures, leave, logfile
from container.cli.spec import Argument, Command, Option, Values, flag, integer
from container.cli.usage import UsageError
from container.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


_WHEN = "a date, Unix time, or how long ago, such as 10m"


def _count(text: str) -> int | None:
    if text == "all":
        return None
    number = integer(text)
    if number < 0:
        raise ValueError("expected 0 or more lines")
    return number


def _instant(text: str) -> int:
    from container.cli import instants

    return instants.parse(text)


def _validate(values: Values) -> None:
    if values.boot and (values.timestamps or values.since is not None or values.until is not None):
        raise UsageError("the boot log has no times: --boot does not go with --since, --until and --timestamps")


def run(values: Values) -> int:
    """Print what the process of a container wrote during its last start."""
    try:
        files = client.call("Containers.Logs", {"id": values.id})["files"]
    except ContainerError as error:
        raise failures.because(f"failed to get logs for container {values.id}", error) from error
    if values.boot:
        show(files["boot"], iter, values)
    else:
        show(files["stdio"], _records(values).decode, values)
    return 0


def _records(values: Values) -> logfile.Records:
    bounds = [values.since, values.until]
    if bounds == [None, None]:
        return logfile.Records(stamped=values.timestamps)
    from container.cli import instants

    since, until = ("" if bound is None else instants.write(bound) for bound in bounds)
    return logfile.Records(since, until, stamped=values.timestamps)


def show(path: str, decode: Callable[[Iterable[bytes]], Iterator[bytes]], values: Values) -> None:
    """Copy a log to standard output: all of it or its last lines, then, when following, what is appended."""
    with logfile.Log(path) as log:
        text = decode(log.read())
        if values.lines is not None:
            margin = logfile.Records.STAMP if values.timestamps else 0
            _print(logfile.last_lines(text, values.lines, margin=margin, end=b"" if values.follow else b"\n"))
        elif values.follow:
            _print(text)
        else:
            _print(logfile.trim(text))
        if values.follow:
            signal.signal(signal.SIGPIPE, leave.broken_pipe)
            leave.watch_output()
            _print(decode(log.follow(None if values.until is None else values.until / 1e9)))


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
        Option("lines", "-n, --tail", "Only the last lines that are not empty, or all", value="count", parse=_count),
        Option("since", "--since", f"Only from then on: {_WHEN}", value="time", parse=_instant),
        Option("until", "--until", "Only until then; when following, ends then", value="time", parse=_instant),
        flag("timestamps", "-t, --timestamps", "Show when each line was written"),
    ],
    validate=_validate,
    arguments=[Argument("id", "container-id", "The container")],
)
