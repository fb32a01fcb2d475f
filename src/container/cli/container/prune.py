"""`container prune`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Command, Values

TIMEOUT = 600.0  # seconds; each may have many files


def remove() -> int:
    """Delete the stopped containers, and print their ids; the bytes that this freed."""
    return many.pruned("container", client.call("Containers.Prune", timeout=TIMEOUT)["result"])


def run(values: Values) -> int:
    """`remove`, and say how much it was."""
    many.reclaimed(remove())
    return 0


COMMAND = Command("Delete all stopped containers", run)
