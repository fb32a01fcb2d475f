"""`container inspect ID …`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Print containers as a JSON array, in listing order."""
    return many.inspect("container", client.containers(all=True), values.ids)


COMMAND = Command(
    "Show everything that is known of containers",
    run,
    arguments=[Argument("ids", "container-ids", "The containers", many=True)],
)
