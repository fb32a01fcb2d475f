"""`container volume inspect [-f F] NAME …`."""

from __future__ import annotations

from container.cli import client, many, output
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Print volumes as a JSON array, in listing order."""
    return many.inspect("volume", client.volumes(), values.names, values.format)


COMMAND = Command(
    "Show everything that is known of volumes",
    run,
    options=[output.INSPECT_FORMAT],
    arguments=[Argument("names", "volumes", "The volumes", many=True)],
)
