"""When each step of a start was reached, in seconds since the helper process began: `<bundle>/timeline.json`."""

import json
import logging
import os
import time

NAME = "timeline.json"
_log = logging.getLogger(__name__)


class Timeline:
    """Steps and their times; `began` is a time.monotonic()."""

    def __init__(self, began: float) -> None:
        age = self._age()
        self._began = max(began, time.monotonic() - age)  # a fork was imported before it began
        self.steps: list[tuple[str, float]] = [
            ("interpreter started", max(0.0, age - (time.monotonic() - self._began)))
        ]

    @staticmethod
    def _age() -> float:
        """Seconds since this process was forked (proc_pid_stat(5), starttime)."""
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))

    def mark(self, step: str, ago: float = 0.0) -> None:
        """Note that `step` was reached, `ago` seconds before now."""
        base = self.steps[0][1]
        self.steps.append((step, base + time.monotonic() - self._began - ago))
        _log.debug("%s: %.3f s", *self.steps[-1])

    def mark_boot(self, uptime: float, started: float) -> None:
        """Note when a guest entered its kernel, `uptime` ms ago, and when its agent started, `started` ms later."""
        self.mark("kernel entered", ago=uptime / 1000)
        self.mark("agent started", ago=(uptime - started) / 1000)

    def save(self, bundle: str) -> None:
        """Write `[["step", seconds], …]`; not synced, it is for people. A failure is logged."""
        rows = [[step, round(seconds, 4)] for step, seconds in sorted(self.steps, key=lambda row: row[1])]
        try:
            with open(os.path.join(bundle, NAME), "w", encoding="utf-8") as file:
                json.dump(rows, file)
        except OSError as error:
            _log.warning("cannot write the timeline: %s", error)
