"""What benchmarks share: a result with its target, and the median of repeated runs."""

import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One measured promise. `target` is the largest value that keeps it, or the smallest with `at_least`."""

    promise: str
    value: float
    target: float
    unit: str = "x"
    at_least: bool = False
    detail: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise holds in this run."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        relation = ">=" if self.at_least else "<="
        verdict = "kept  " if self.kept else "MISSED"
        detail = f"  ({self.detail})" if self.detail else ""
        return f"{verdict}  {self.value:8.3f} {self.unit:5} {relation} {self.target:g}  {self.promise}{detail}"


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of `work`, in seconds, after one unmeasured run."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def alternating(first: Callable[[], object], second: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Median wall times of two pieces of work, run in turn so that a noisy machine disturbs both alike."""
    first()
    second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for work, kept in zip((first, second), times, strict=True):
            began = time.perf_counter()
            work()
            kept.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def run(*command: str) -> Callable[[], object]:
    """Work that runs a command and discards what it prints."""
    return lambda: subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
