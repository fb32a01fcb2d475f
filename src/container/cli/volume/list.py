"""`container volume list [--filter F] [--format F] [-q]`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.options import filters
from container.cli.spec import Command, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = ("NAME", "TYPE", "DRIVER", "OPTIONS")
TESTS: filters.Tests = {
    "driver": lambda volume, wanted: bool(volume["configuration"]["driver"] == wanted),
    filters.LABEL: lambda volume, wanted: filters.label(volume["configuration"]["labels"], wanted),
    "name": lambda volume, wanted: wanted in volume["id"],
}
ANONYMOUS_LABEL = "com.apple.container.resource.anonymous"


def run(values: Values) -> int:
    """List volumes."""
    volumes = filters.select(client.volumes(), values.filter, TESTS)

    def record(volume: dict[str, Any]) -> object:
        from container.cli.view import inspected

        return inspected.volume(volume)

    output.print_list(
        volumes,
        format=values.format,
        quiet=values.quiet,
        header=HEADER,
        rows=(_row(each["id"], each["configuration"]) for each in volumes),
        names=(each["id"] for each in volumes),
        record=record,
    )
    return 0


def _row(name: str, configuration: dict[str, Any]) -> tuple[str, ...]:
    kind = "anonymous" if ANONYMOUS_LABEL in configuration["labels"] else "named"
    options = ",".join(f"{key}={value}" for key, value in sorted(configuration["options"].items()))
    return name, kind, configuration["driver"], options


COMMAND = Command(
    "List volumes", run, options=[filters.option(*TESTS), output.format_option(templates=True), output.QUIET]
)
