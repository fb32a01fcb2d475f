"""`container image pull [options] REF`."""

from __future__ import annotations

from container.cli import client, failures, output, progress
from container.cli.options import fetch, platform
from container.cli.spec import Argument, Command, Values

STEPS = ("Fetching image", "Unpacking image")


def run(values: Values) -> int:
    """Fetch an image and unpack it, all platforms that it has unless limited.

    Standard output stays empty (contract 2.3); unless progress is off, the note at the end names what came.
    """
    fetch.check(values)
    call = {
        "reference": values.reference,
        "platform": platform.to_filter(values),
        "scheme": values.scheme,
        "max_concurrent_downloads": values.downloads,
    }
    what = f"failed to pull image {values.reference}"
    references: list[str] = []
    with failures.Attempt(what), progress.create(values.progress, STEPS) as display:
        for reply in client.stream("Images.Pull", call):
            if reply["event"].get("progress"):
                display.update(reply["event"]["progress"])
            references = reply["event"].get("references") or references
    for reference in references if values.progress != "none" else ():
        digest = (
            "" if "@" in reference else f"@sha256:{client.call('Images.Get', {'reference': reference})['image']['id']}"
        )
        output.error_line(reference + digest)
    return 0


COMMAND = Command(
    "Fetch an image from a registry",
    run,
    options=[*platform.options(), fetch.SCHEME, progress.OPTION, fetch.DOWNLOADS],
    arguments=[Argument("reference", "reference", "The image, [registry/]name[:tag|@digest]")],
)
