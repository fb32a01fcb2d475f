"""`container image save [-o FILE] [-a ARCH] [--os OS] [--platform P] REF …`."""

from __future__ import annotations

import os

from container.cli import client, logger, output, progress
from container.cli.options import platform
from container.cli.spec import Argument, Command, Option, Values
from container.errors import ContainerError, ErrorCode, internal, invalid_argument, os_reason


def run(values: Values) -> int:
    """Write images to one archive; print the references as typed, on standard error when the archive is on stdout."""
    wanted = platform.to_filter(values)
    _check(values.references)
    if values.output is None:
        if os.isatty(1):
            raise invalid_argument(
                "cannot save images: the archive would be written to a terminal; give --output or redirect it"
            )
        _save(1, values.references, wanted)
    else:
        _save_file(values.output, values.references, wanted)
    say = output.error_line if values.output is None else output.line
    for reference in values.references:
        say(reference)
    return 0


def _check(references: list[str]) -> None:
    """Every image must be there before the first byte is written."""
    missing = False
    for reference in references:
        try:
            client.call("Images.Get", {"reference": reference})
        except ContainerError as error:
            if error.code is ErrorCode.INTERRUPTED:
                raise
            logger.info(f"failed to get image for reference {reference}: {error.describe()}")
            missing = True
    if missing:
        raise internal("failed to save image(s): nothing was written")


def _save_file(path: str, references: list[str], wanted: dict[str, str] | None) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"failed to open {path}: {os_reason(error)}") from error
    try:
        _save(fd, references, wanted)
    except BaseException:
        if os.path.isfile(path):
            os.unlink(path)  # half an archive is of no use
        raise
    finally:
        os.close(fd)


def _save(fd: int, references: list[str], wanted: dict[str, str] | None) -> None:
    with progress.create("ansi") as display:
        for reply in client.stream("Images.Save", {"archive": 0, "references": references, "platform": wanted}, [fd]):
            if reply["event"].get("progress"):
                display.update(reply["event"]["progress"])


COMMAND = Command(
    "Save images to an archive",
    run,
    options=[
        *platform.options(),
        Option("output", "-o, --output", "Archive to write, standard output if not given", value="file"),
    ],
    arguments=[Argument("references", "references", "The images", many=True)],
    discussion="The archive is an OCI layout in an uncompressed tar.",
)
