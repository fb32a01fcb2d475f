"""`container image tag SRC DST`."""

from __future__ import annotations

from container.cli import client, failures, output
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Give an image another name; print it as typed."""
    with failures.Attempt(f"failed to tag image {values.source}"):
        client.call("Images.Tag", {"source": values.source, "target": values.target})
    output.line(values.target)
    return 0


COMMAND = Command(
    "Give an image another name",
    run,
    arguments=[
        Argument("source", "source", "The image"),
        Argument("target", "target", "The new name, which may belong to another image until now"),
    ],
)
