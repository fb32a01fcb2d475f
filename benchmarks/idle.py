"""Ten containers: how fast `list` is, what a runtime helper weighs, what idling costs the host."""

import os
import sys
import time
from pathlib import Path

from support.system import System

from benchmarks.measure import Result, alternating, run

CONTAINERS, IDLE_SECONDS = 10, 60


def measure(system: System) -> list[Result]:
    """Starts ten containers, measures, deletes them."""
    names = [f"bench-{number}" for number in range(CONTAINERS)]
    try:
        for name in names:
            system.run("run", "-d", "--name", name, "-c", "1", "-m", "200m", "busybox", "sleep", "100000")
        return [_listing(system), _memory(system), *_idling(system)]
    finally:
        system.run("delete", "-f", *names, check=False, timeout=300)


def _listing(system: System) -> Result:
    bare, listing = alternating(run(sys.executable, "-c", "pass"), lambda: system.run("list"), 20)
    detail = f"{listing * 1000:.0f} ms against {bare * 1000:.0f} ms"
    return Result(f"list of {CONTAINERS} containers / python3 -c pass", listing / bare, 4, detail=detail)


def _memory(system: System) -> Result:
    helpers = [pid for name, pid in system.services().items() if name.startswith("runtime.")]
    return Result("private memory of a runtime helper", max(map(_private, helpers)), 25, "MB")


def _private(pid: int) -> float:
    """Private memory of a process in MB (proc_pid_smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000


def _idling(system: System) -> list[Result]:
    before = _cpu(system)
    time.sleep(IDLE_SECONDS)
    after = _cpu(system)
    spent = {kind: after.get(kind, 0.0) - before.get(kind, 0.0) for kind in after}
    machine = spent.pop("qemu", 0.0) / CONTAINERS
    services = sum(spent.values())
    return [
        Result(f"CPU of all services over {IDLE_SECONDS} s, {CONTAINERS} idle containers", services, 0.3, "s"),
        Result(f"CPU of one idle VM over {IDLE_SECONDS} s", machine, 0.6, "s"),
    ]


def _cpu(system: System) -> dict[str, float]:
    """CPU seconds used so far: `qemu` for the machines, `services` for the rest."""
    used: dict[str, float] = {}
    for pid, words in system.processes().items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        kind = "qemu" if "qemu-system" in words[0] else "services"
        used[kind] = used.get(kind, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used
