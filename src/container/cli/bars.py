"""Bars below the progress line of a terminal: one for each of the things under way side by side, layers say."""

from __future__ import annotations

import time

from container.cli import sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LENGTH = 24  # cells of a bar
STATE = 11  # columns of a state, at least
FULL, REST = "━", "─"
QUIET = ("exists", "done", "waiting")  # states without a rate; these lines go first when the terminal is low
MEASURED = 0.5  # seconds before a rate is shown
GAP = "  "


class Bars:
    """The latest state of each part, and since when it is in it."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []
        self._since: dict[str, tuple[str, float, int]] = {}  # by name: state, time and bytes when it began

    def take(self, parts: list[dict[str, Any]]) -> None:
        """Replace all parts; JSON of `ProgressPart`."""
        self._parts = parts
        for part in parts:
            known = self._since.get(part["name"])
            if known is None or known[0] != part["state"]:
                self._since[part["name"]] = (part["state"], time.monotonic(), part.get("bytes") or 0)

    def lines(self, width: int, room: int) -> list[str]:
        """At most `room` lines, narrower than `width`, in the order of the parts; the last one counts the rest."""
        shown = self._parts
        if len(shown) > room:
            busy = [part for part in shown if part["state"] not in QUIET]
            quiet = [part for part in shown if part["state"] in QUIET]
            kept = {id(part) for part in (busy + quiet)[: max(0, room - 1)]}
            shown = [part for part in shown if id(part) in kept]
        lines = [self._line(part, width) for part in shown]
        if room > 0 and len(shown) < len(self._parts):
            lines.append(f"{GAP}… {len(self._parts) - len(shown)} more"[: width - 1])
        return lines

    def _line(self, part: dict[str, Any], width: int) -> str:
        name, state, done, total = part["name"], part["state"], part.get("bytes") or 0, part.get("totalBytes")
        states = max(STATE, *(len(each["state"]) for each in self._parts))
        cells = [f"{GAP}{name}", state.ljust(states)]
        if total and state not in ("waiting", "exists"):
            filled = min(LENGTH, LENGTH * done // total) if state != "done" else LENGTH
            cells.append(FULL * filled + REST * (LENGTH - filled))
        if total:
            cells.append(sizes.binary(total) if state in QUIET else sizes.of(done, total))
        rate = None if state in QUIET else self._rate(name, done)
        if rate is not None:
            cells.append(f"{sizes.binary(rate)}/s")
        while len(cells) > 1 and len(GAP.join(cells)) >= width:
            cells.pop()
        return GAP.join(cells).rstrip()[: width - 1]

    def _rate(self, name: str, done: int) -> float | None:
        _, since, first = self._since[name]
        elapsed = time.monotonic() - since
        return (done - first) / elapsed if elapsed >= MEASURED and done > first else None
