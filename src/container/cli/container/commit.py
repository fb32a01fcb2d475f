"""`container commit [-a AUTHOR] [-m MESSAGE] [-c CHANGE]… ID REF`."""

from __future__ import annotations

from container.cli import client, output, progress
from container.cli.spec import Argument, Command, Option, Values


def run(values: Values) -> int:
    """Make an image of a container; print its full reference."""
    options = client.given({"author": values.author, "message": values.message, "changes": values.changes})
    parameters = {"id": values.id, "reference": values.reference, "options": options}
    references: list[str] = []
    with progress.create("ansi") as display:
        for reply in client.stream("Files.Commit", parameters):
            event = reply["event"]
            if event.get("progress"):
                display.update(event["progress"])
            references = event.get("references") or references
    for reference in references:
        output.line(reference)
    return 0


COMMAND = Command(
    "Make an image of what a container changed",
    run,
    options=[
        Option("author", "-a, --author", "Who made it", value="author"),
        Option(
            "changes",
            "-c, --change",
            "Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR",
            value="instruction",
            many=True,
            default=[],
        ),
        Option("message", "-m, --message", "What was done", value="message"),
    ],
    arguments=[
        Argument("id", "container-id", "The container"),
        Argument("reference", "reference", "Name of the new image"),
    ],
    discussion="While the container runs, its writes wait for the end of it. Volumes and mounts are left out.",
)
