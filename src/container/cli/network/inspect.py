"""`container network inspect [-f F] NAME …`."""

from __future__ import annotations

from container.cli import client, many, output
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Print networks as a JSON array, in listing order."""
    return many.inspect("network", client.networks(), values.names, values.format)


COMMAND = Command(
    "Show everything that is known of networks",
    run,
    options=[output.INSPECT_FORMAT],
    arguments=[Argument("names", "networks", "The networks", many=True)],
)
