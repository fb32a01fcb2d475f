"""`container export [-o FILE] ID`."""

from __future__ import annotations

import os

from container.cli import client
from container.cli.spec import Argument, Command, Option, Values
from container.errors import ContainerError, ErrorCode, invalid_argument, os_reason


def run(values: Values) -> int:
    """Write a container's root file system as an uncompressed tar."""
    if values.output is not None:
        _export_file(values.id, values.output)
    elif os.isatty(1):
        raise invalid_argument(
            f"cannot export {values.id}: the archive would be written to a terminal; give --output or redirect it"
        )
    else:
        _export(values.id, 1)
    return 0


def _export(id: str, fd: int) -> None:
    client.call("Files.Read", {"id": id, "tree": "export", "output": 0}, fds=[fd], timeout=None)


def _export_file(id: str, path: str) -> None:
    client.container(id)  # before the file is emptied
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"failed to open {path}: {os_reason(error)}") from error
    try:
        _export(id, fd)
    except BaseException:
        if os.path.isfile(path):
            os.unlink(path)  # half an archive is of no use
        raise
    finally:
        os.close(fd)


COMMAND = Command(
    "Write a container's file system to an archive",
    run,
    options=[Option("output", "-o, --output", "Archive to write, standard output if not given", value="file")],
    arguments=[Argument("id", "container-id", "The container")],
    discussion="While the container runs, its writes wait for the end of it. Volumes and mounts are left out.",
)
