"""`container image load [-i FILE] [-f]`."""

from __future__ import annotations

import os

from container.cli import client, failures, logger, output, progress
from container.cli.spec import Command, Option, Values, flag
from container.errors import ContainerError, ErrorCode, invalid_argument, not_found, os_reason


def run(values: Values) -> int:
    """Read an archive, unpack every platform, print the references."""
    fd = _open(values.input)
    try:
        with failures.Attempt(f"failed to load images from {values.input or 'standard input'}"):
            references, rejected = _load(fd, values.force)
    finally:
        if fd != 0:
            os.close(fd)
    if rejected and not values.force:
        raise invalid_argument(
            f"cannot load tar image with rejected paths: {logger.quoted(rejected)}; --force loads it without them"
        )
    if rejected:
        logger.warning("archive contains invalid members", paths=rejected)
    for reference in references:
        output.line(reference)
    return 0


def _load(fd: int, force: bool) -> tuple[list[str], list[str]]:
    references: list[str] = []
    rejected: list[str] = []
    with progress.create("ansi") as display:
        for reply in client.stream("Images.Load", {"archive": 0, "force": force}, [fd]):
            event = reply["event"]
            if event.get("progress"):
                display.update(event["progress"])
            references = event.get("references") or references
            rejected = event.get("rejected") or rejected
    return references, rejected


def _open(path: str | None) -> int:
    if path is None:
        if os.isatty(0):
            raise invalid_argument(
                "cannot load images: the archive is read from standard input, which is a terminal; give --input"
            )
        return 0
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise not_found(f"cannot load images from {os.path.abspath(path)}: file does not exist") from None
    except OSError as error:
        raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"failed to open {path}: {os_reason(error)}") from error


COMMAND = Command(
    "Load images from an archive",
    run,
    options=[
        Option("input", "-i, --input", "Archive to read, standard input if not given", value="file"),
        flag("force", "-f, --force", "Load it though it has members that are not valid"),
    ],
    discussion="The archive is an OCI layout or a docker archive, plain or compressed with gzip.",
)
