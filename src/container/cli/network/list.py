"""`container network list [--filter F] [--format F] [-q]`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.options import filters
from container.cli.spec import Command, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = ("NETWORK", "SUBNET")
TESTS: filters.Tests = {
    filters.LABEL: lambda network, wanted: filters.label(network["configuration"]["labels"], wanted),
    "name": lambda network, wanted: wanted in network["id"],
}


def run(values: Values) -> int:
    """List networks."""
    networks = filters.select(client.networks(), values.filter, TESTS)

    def record(network: dict[str, Any]) -> object:
        from container.cli.view import inspected

        return inspected.network(network)

    output.print_list(
        networks,
        format=values.format,
        quiet=values.quiet,
        header=HEADER,
        rows=((each["id"], each["status"]["ipv4Subnet"]) for each in networks),
        names=(each["id"] for each in networks),
        record=record,
    )
    return 0


COMMAND = Command(
    "List networks", run, options=[filters.option(*TESTS), output.format_option(templates=True), output.QUIET]
)
