"""`container system df [--format F]`."""

from __future__ import annotations

from container.cli import client, output, sizes
from container.cli.spec import Command, Values

HEADER = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
TYPES = (("Images", "images"), ("Containers", "containers"), ("Local Volumes", "volumes"))
ZERO = "0 B"


def run(values: Values) -> int:
    """Print what images, containers and volumes take on disk, and how much of it nothing uses."""
    usage = client.call("System.DiskUsage")["usage"]
    if values.format == "json":
        output.print_json(usage)
    elif values.format == "table":
        output.write(output.table(HEADER, [_row(title, usage[key]) for title, key in TYPES]))
    else:
        output.write(output.render(usage, values.format))
    return 0


def _row(title: str, usage: dict[str, int]) -> tuple[str, ...]:
    size, reclaimable = usage["sizeInBytes"], usage["reclaimable"]
    percent = min(100, round(100 * reclaimable / size)) if size else 0
    return (
        title,
        str(usage["total"]),
        str(usage["active"]),
        sizes.decimal(size, ZERO),
        f"{sizes.decimal(reclaimable, ZERO)} ({percent}%)",
    )


COMMAND = Command("Show what is on disk and how much of it is unused", run, options=[output.format_option()])
