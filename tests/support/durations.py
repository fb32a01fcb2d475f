"""A plugin of pytest: where the time went, by group of tests and by file, at the end."""

from collections import Counter
from pathlib import PurePath

import pytest

SLOWEST = 10


class Durations:
    """Seconds of every test with its fixtures, and how many tests ran."""

    def __init__(self) -> None:
        self.groups: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self.tests: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of one test."""
        file = report.nodeid.split("::")[0]
        group = (*PurePath(file).parts, "", "")[1]
        self.groups[group] += report.duration  # type: ignore[assignment]
        self.files[file] += report.duration  # type: ignore[assignment]
        self.tests[group] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Print the table, unless less output is asked for."""
        if config.get_verbosity() < 0:
            return
        terminalreporter.section("where the time went")
        for group, seconds in self.groups.items():
            terminalreporter.write_line(f"{_clock(seconds)}  {group}, {self.tests[group]} tests")
        terminalreporter.write_line("the slowest files:")
        for file, seconds in self.files.most_common(SLOWEST):
            terminalreporter.write_line(f"{_clock(seconds)}  {file}")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:4d}:{seconds % 60:04.1f}"
