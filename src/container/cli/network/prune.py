"""`container network prune`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Command, Values


def remove() -> None:
    """Delete the networks that no container refers to, and print their names."""
    many.pruned("network", client.call("Networks.Prune")["result"])


def run(values: Values) -> int:
    """`remove`: networks take no room to speak of."""
    remove()
    return 0


COMMAND = Command("Delete networks that no container refers to", run)
