"""Points in time as an option names them: a date, Unix time, or a duration before now. In nanoseconds since 1970."""

from __future__ import annotations

import datetime
import re
import time

FORMS = "a date such as 2026-01-02T03:04:05Z, Unix time in seconds, or a duration before now such as 10m or 1h30m"
_SECOND = 10**9
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": _SECOND, "m": 60 * _SECOND}
_UNITS["h"] = 60 * _UNITS["m"]
_UNIX = re.compile(r"(-?\d+)(?:\.(\d{1,9}))?", re.ASCII)
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)


def parse(text: str) -> int:
    """The forms of docker's `--since`; a date without a zone is local. Raises ValueError that names them."""
    try:
        if found := _UNIX.fullmatch(text):
            seconds, fraction = int(found[1]), found[2]
        elif found := _DATE.fullmatch(text):
            *words, fraction, zone = found.groups(default="00")
            clock = "{}T{}:{}:{}".format(*words) + ("" if zone == "00" else zone.upper())
            seconds = int(datetime.datetime.fromisoformat(clock).timestamp())
        else:
            return time.time_ns() - _duration(text)
        instant = seconds * _SECOND + int((fraction or "0").ljust(9, "0"))
        write(instant)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"expected {FORMS}") from None
    return instant


def write(instant: int) -> str:
    """`2026-01-02T03:04:05.123456789Z`. ValueError, OverflowError or OSError: a year without such a form."""
    seconds, nanoseconds = divmod(instant, _SECOND)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{nanoseconds:09d}Z"


def _duration(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _DURATION.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        raise ValueError(text)
    return sign * sum(round(float(number) * _UNITS[unit]) for number, unit in parts)
