"""`container volume prune`."""

from __future__ import annotations

from container.cli import client, logger, output, sizes
from container.cli.spec import Command, Values


def run(values: Values) -> int:
    """Delete the volumes that no container refers to, and print their names."""
    result = client.call("Volumes.Prune")["result"]
    for name in result["deleted"]:
        output.line(name)
    for name in sorted(result["failed"]):
        logger.warning(f"failed to prune volume {name}: {result['failed'][name]}")
    output.error_line(f"Reclaimed {sizes.decimal(result['reclaimed'])} in disk space")
    return 0


COMMAND = Command("Delete volumes that no container refers to", run)
