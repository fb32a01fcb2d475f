"""`container system df [--format F]`."""

from __future__ import annotations

from container.cli import client, output, sizes
from container.cli.spec import Command, Values

HEADER = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE", "FREED BY")
PRUNE = "container system prune"
TYPES = (
    ("Images", "images", "container image prune -a"),
    ("Containers", "containers", "container prune"),
    ("Local Volumes", "volumes", "container volume prune"),
    ("Kernels", "kernels", PRUNE),
    ("Caches", "caches", PRUNE),
    ("Logs", "logs", PRUNE),
    ("Other", "other", "-"),
)
ZERO = "0 B"


def run(values: Values) -> int:
    """Print what the system takes on disk, how much of it nothing uses, and what removes that."""
    usage = client.call("System.DiskUsage")["usage"]
    if values.format == "json":
        output.print_json(usage)
    elif values.format == "table":
        output.write(output.table(HEADER, [_row(title, usage[key], verb) for title, key, verb in TYPES]))
    else:
        output.write(output.render(usage, values.format))
    return 0


def _row(title: str, usage: dict[str, int], verb: str) -> tuple[str, ...]:
    size, reclaimable = usage["sizeInBytes"], usage["reclaimable"]
    percent = min(100, round(100 * reclaimable / size)) if size else 0
    return (
        title,
        str(usage["total"]),
        str(usage["active"]),
        sizes.decimal(size, ZERO),
        f"{sizes.decimal(reclaimable, ZERO)} ({percent}%)",
        verb,
    )


COMMAND = Command("Show what is on disk and how much of it is unused", run, options=[output.format_option()])
