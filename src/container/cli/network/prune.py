"""`container network prune`."""

from __future__ import annotations

from container.cli import client, logger, output
from container.cli.spec import Command, Values


def run(values: Values) -> int:
    """Delete the networks that no container refers to, and print their names."""
    result = client.call("Networks.Prune")["result"]
    for name in result["deleted"]:
        output.line(name)
    for name in sorted(result["failed"]):
        logger.warning(f"failed to prune network {name}: {result['failed'][name]}")
    return 0


COMMAND = Command("Delete networks that no container refers to", run)
