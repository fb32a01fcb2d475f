"""`container volume delete [-a] [NAME …]`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Command, Values


def run(values: Values) -> int:
    """Delete volumes, and print the names of those that went."""
    return many.delete_resources("volume", values, client.volumes, _delete)


def _delete(name: str) -> None:
    client.call("Volumes.Delete", {"id": name})


COMMAND = Command(
    "Delete volumes",
    run,
    options=[many.all_option("Delete all volumes")],
    arguments=[many.ids_argument("The volumes", "volumes")],
)
