"""`container volume inspect NAME …`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Print volumes as a JSON array, in listing order."""
    return many.inspect("volume", client.volumes(), values.names)


COMMAND = Command(
    "Show everything that is known of volumes",
    run,
    arguments=[Argument("names", "volumes", "The volumes", many=True)],
)
