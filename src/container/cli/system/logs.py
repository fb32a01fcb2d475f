"""`container system logs [-f] [--last T]`."""

from __future__ import annotations

import os
import time

from container.cli import client, output
from container.cli.spec import Command, Option, Values, flag
from container.cli.usage import UsageError
from container.paths import Roots
from container.supervisor import servicelog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = {"m": 60, "h": 3600, "d": 86400}
SUFFIX = ".log"
FORMER = SUFFIX + servicelog.FORMER
STAMP = len("2026-01-02T03:04:05.000Z")
EXPECTED = "expected a positive integer (seconds) or a value with suffix m, h, or d (e.g. 30, 5m, 1h, 2d)"


def parse_last(text: str) -> int:
    """Seconds of `30`, `5m`, `1h`, `2d`. Raises ValueError."""
    digits, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "")
    if not (digits.isascii() and digits.isdigit()) or int(digits) < 1:
        raise ValueError(text)
    return int(digits) * UNITS.get(unit, 1)


def _check(values: Values) -> None:
    try:
        parse_last(values.last)
    except ValueError:
        raise UsageError(f"invalid --last value '{values.last}': {EXPECTED}") from None


def run(values: Values) -> int:
    """Print the log of all services, by time."""
    root = _log_root()
    if values.follow:
        try:
            _follow(root)
        except KeyboardInterrupt:
            return 0
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - parse_last(values.last)))
    from heapq import merge

    for _, text in merge(*(_entries(path, since) for path in _files(root, (FORMER, SUFFIX)))):
        output.write(text)
    return 0


def _log_root() -> str:
    health = client.health()
    return Roots.from_environment().log if health is None else str(health["logRoot"])


def _files(root: str, suffixes: tuple[str, ...] = (SUFFIX,)) -> list[str]:
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [os.path.join(root, name) for name in names if name.endswith(suffixes)]


def _service(path: str) -> str:
    return os.path.basename(path).removesuffix(FORMER).removesuffix(SUFFIX).removeprefix("io.container.")


def is_stamp(text: str) -> bool:
    """Whether a line begins with the time that services write."""
    return len(text) == STAMP and text[10] == "T" and text[-1] == "Z" and text[:4].isdigit()


def _entries(path: str, since: str) -> Iterator[tuple[str, str]]:
    """(time, lines) of one file from `since` on; a line without a time goes with the one before it."""
    stamp, service = "", _service(path)
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            rest = line
            if is_stamp(line[:STAMP]):
                stamp, rest = line[:STAMP], line[STAMP + 1 :]
            if stamp >= since:
                yield stamp, f"{stamp} {service}: {rest}"


def _follow(root: str) -> None:
    """Print what is appended to any log, until interrupted."""
    from container.linux import inotify

    places = {path: os.path.getsize(path) for path in _files(root)}
    with inotify.Inotify() as watches:
        watches.add(root, inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO)
        while True:
            for path in _files(root):
                places[path] = _print_from(path, places.get(path, 0))
            watches.wait()


def _print_from(path: str, place: int) -> int:
    """Print the whole lines from `place` on; where they end."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < place:
            place = 0
        file.seek(place)
        data = file.read()
    end = data.rfind(b"\n") + 1
    service = _service(path)
    for line in data[:end].decode("utf-8", "replace").splitlines():
        stamped = is_stamp(line[:STAMP])
        output.line(f"{line[:STAMP]} {service}: {line[STAMP + 1 :]}" if stamped else f"{service}: {line}")
    return place + end


COMMAND = Command(
    "Show the log of the services",
    run,
    options=[
        flag("follow", "-f, --follow", "Show what is logged from now on, until interrupted"),
        Option("last", "--last", "How far back to go: seconds, or a number with m, h or d", value="time", default="5m"),
    ],
    validate=_check,
)
