"""`container image prune [-a]`."""

from __future__ import annotations

from container.cli import client, many, output
from container.cli.spec import Command, Values, flag


def remove(*, every: bool) -> int:
    """Remove images without a tag, with `every` all that no container uses; print what went. The bytes this freed."""
    result = client.call("Images.Prune", {"all": every})["result"]
    for reference in result["untagged"]:
        output.line(f"untagged {reference}")
    for digest in result["deleted"]:
        output.line(f"deleted {digest}")
    return int(result["reclaimed"])


def run(values: Values) -> int:
    """`remove`, and say how much it was."""
    many.reclaimed(remove(every=values.all))
    return 0


COMMAND = Command(
    "Remove images that nothing uses",
    run,
    options=[flag("all", "-a, --all", "Remove all images that no container uses, not only those without a tag")],
)
