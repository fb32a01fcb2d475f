"""How long ago something was, in words, as docker has them."""

from __future__ import annotations

import time

_STEPS = (  # up to this many seconds: words, and the seconds of one of them
    (60, "seconds", 1),
    (120, "About a minute", 0),
    (3600, "minutes", 60),
    (7200, "About an hour", 0),
    (48 * 3600, "hours", 3600),
    (14 * 86400, "days", 86400),
    (60 * 86400, "weeks", 7 * 86400),
    (730 * 86400, "months", 30 * 86400),
)


def seconds_since(date: str) -> float:
    """Seconds from an ISO date of ours (`2026-01-02T03:04:05Z`, UTC) until now; never negative."""
    import calendar

    try:
        then = calendar.timegm(time.strptime(date[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
    return max(0.0, time.time() - then)


def span(seconds: float) -> str:
    """`Less than a second`, `5 seconds`, `About a minute`, `3 hours`."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 2:
        return "1 second"
    for limit, words, unit in _STEPS:
        if seconds < limit:
            return f"{int(seconds // unit)} {words}" if unit else words
    return f"{int(seconds // (365 * 86400))} years"


def ago(date: str) -> str:
    """`3 hours ago`; nothing for no date."""
    return f"{span(seconds_since(date))} ago" if date else ""
