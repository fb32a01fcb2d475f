"""`--cap-add`, `--cap-drop`, `--masked-path`, `--read-only-path` (contract 1.7, 1.9, 5)."""

from __future__ import annotations

from container.errors import invalid_argument
from container.model import capabilities

MASKED = """
    /proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats
    /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap
"""
READ_ONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"


def parse_capabilities(words: list[str]) -> list[str]:
    """`CAP_X` or `ALL`, without repeats."""
    names: list[str] = []
    for word in words:
        bare = word.upper().removeprefix("CAP_")
        name = bare if bare == capabilities.ALL else f"CAP_{bare}"
        if name != capabilities.ALL and name not in capabilities.NAMES:
            raise invalid_argument(
                f"invalid CapabilityName '{word}'; expected a name of capabilities(7), as NET_ADMIN, or ALL"
            )
        if name not in names:
            names.append(name)
    return names


def parse_paths(option: str, words: list[str], defaults: str) -> list[str] | None:
    """The defaults and the paths given, in order; `NONE` clears what came before; None when nothing was given."""
    if not words:
        return None
    paths = defaults.split()
    for word in words:
        if word.upper() == "NONE":
            paths = []
            continue
        if not word.startswith("/"):
            raise invalid_argument(f"invalid path '{word}' for {option}: path must be absolute, or the NONE sentinel")
        path = word.rstrip("/") or "/"
        if path not in paths:
            paths.append(path)
    return paths
