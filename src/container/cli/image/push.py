"""`container image push [options] REF`."""

from __future__ import annotations

from container.cli import client, failures, output, progress
from container.cli.options import fetch, platform
from container.cli.spec import Argument, Command, Values

STEPS = ("Pushing image",)


def run(values: Values) -> int:
    """Send an image to its registry, all of it that is here unless limited; print its full reference."""
    fetch.check_scheme(values)
    call = {"reference": values.reference, "platform": platform.to_filter(values), "scheme": values.scheme}
    references: list[str] = []
    what = f"failed to push image {values.reference}"
    with failures.Attempt(what), progress.create(values.progress, STEPS) as display:
        for reply in client.stream("Images.Push", call):
            if reply["event"].get("progress"):
                display.update(reply["event"]["progress"])
            references = reply["event"].get("references") or references
    for reference in references:
        output.line(reference)
    return 0


COMMAND = Command(
    "Send an image to a registry",
    run,
    options=[*platform.options(), fetch.SCHEME, progress.OPTION],
    arguments=[Argument("reference", "reference", "The image, whose name says where it goes")],
)
