"""`container volume prune`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Command, Values


def remove() -> int:
    """Delete the volumes that no container refers to, and print their names; the bytes that this freed."""
    return many.pruned("volume", client.call("Volumes.Prune")["result"])


def run(values: Values) -> int:
    """`remove`, and say how much it was."""
    many.reclaimed(remove())
    return 0


COMMAND = Command("Delete volumes that no container refers to", run)
