"""`container network delete [-a] [NAME …]`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Command, Values

BUILTIN = "default"


def run(values: Values) -> int:
    """Delete networks, and print the names of those that went."""
    return many.delete_resources("network", values, client.networks, _delete, BUILTIN)


def _delete(name: str) -> None:
    client.call("Networks.Delete", {"id": name})


COMMAND = Command(
    "Delete networks",
    run,
    options=[many.all_option("Delete all networks but the built-in ones")],
    arguments=[many.ids_argument("The networks", "networks")],
)
