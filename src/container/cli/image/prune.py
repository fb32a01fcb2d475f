"""`container image prune [-a]`."""

from __future__ import annotations

from container.cli import client, output, sizes
from container.cli.spec import Command, Values, flag


def run(values: Values) -> int:
    """Remove images without a tag, with `--all` every one that no container uses; print what went."""
    result = client.call("Images.Prune", {"all": values.all})["result"]
    for reference in result["untagged"]:
        output.line(f"untagged {reference}")
    for digest in result["deleted"]:
        output.line(f"deleted {digest}")
    output.error_line(f"Reclaimed {sizes.decimal(result['reclaimed'])} in disk space")
    return 0


COMMAND = Command(
    "Remove images that nothing uses",
    run,
    options=[flag("all", "-a, --all", "Remove all images that no container uses, not only those without a tag")],
)
