"""`container list [-a] [--format F] [-q]`."""

from __future__ import annotations

from container.cli import client, many, output, sizes
from container.cli.spec import Command, Values, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = ("ID", "IMAGE", "OS", "ARCH", "STATE", "IP", "CPUS", "MEMORY", "STARTED")


def row(snapshot: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a container."""
    configuration, status = snapshot["configuration"], snapshot["status"]
    return (
        snapshot["id"],
        configuration["image"]["reference"],
        configuration["platform"]["os"],
        configuration["platform"]["architecture"],
        status["state"],
        ",".join(network["ipv4Address"] for network in status["networks"]),
        str(configuration["resources"]["cpus"]),
        sizes.mebibytes(configuration["resources"]["memoryInBytes"]),
        status.get("startedDate", ""),
    )


def run(values: Values) -> int:
    """List containers, but never those of machines."""
    containers = [each for each in client.containers(all=values.all) if not many.is_machine(each)]
    output.print_list(
        containers,
        format=values.format,
        quiet=values.quiet,
        header=HEADER,
        rows=map(row, containers),
        names=(each["id"] for each in containers),
    )
    return 0


COMMAND = Command(
    "List containers",
    run,
    options=[flag("all", "-a, --all", "Also those that do not run"), output.format_option(), output.QUIET],
)
