"""`container network list [--format F] [-q]`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.spec import Command, Values

HEADER = ("NETWORK", "SUBNET")


def run(values: Values) -> int:
    """List networks."""
    networks = client.networks()
    output.print_list(
        networks,
        format=values.format,
        quiet=values.quiet,
        header=HEADER,
        rows=((each["id"], each["status"]["ipv4Subnet"]) for each in networks),
        names=(each["id"] for each in networks),
    )
    return 0


COMMAND = Command("List networks", run, options=[output.format_option(), output.QUIET])
