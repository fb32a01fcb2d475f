"""`exec true` in a running container, over the guest's own fork and exec."""

import time

from support.system import System

from benchmarks.measure import Result, seconds

FORKS = 20


def measure(system: System) -> list[Result]:
    """Median of ten, minus what one fork and exec costs inside the guest."""
    name = "bench-exec"
    system.run("run", "-d", "--name", name, "-c", "1", "-m", "256m", "busybox", "sleep", "100000")
    try:
        whole = seconds(lambda: system.run("exec", name, "true"), 10)
        began = time.perf_counter()
        system.run("exec", name, "sh", "-c", f"for i in $(seq {FORKS}); do /bin/true; done")
        own = max(0.0, time.perf_counter() - began - whole) / FORKS
    finally:
        system.run("delete", "-f", name)
    detail = f"{whole * 1000:.0f} ms, of which {own * 1000:.0f} ms are the guest's"
    return [Result("exec of true over the guest's own fork+exec", whole - own, 0.15, "s", detail=detail)]
