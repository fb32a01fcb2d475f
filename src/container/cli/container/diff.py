"""`container diff ID`."""

from __future__ import annotations

import os

from container.cli import client, output
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Print what a container changed of its image: A added, C changed, D deleted, and a path, by path."""
    fd = os.memfd_create("changes")
    try:
        client.call("Files.Read", {"id": values.id, "tree": "changes", "output": 0}, fds=[fd], timeout=None)
        os.lseek(fd, 0, os.SEEK_SET)
        with open(fd, "rb", closefd=False) as file:
            records = file.read().split(b"\0")[:-1]
    finally:
        os.close(fd)
    for record in sorted(records, key=lambda record: record[1:]):
        output.line(os.fsdecode(record[:1] + b" " + record[1:]))
    return 0


COMMAND = Command(
    "Show what a container changed of its image",
    run,
    arguments=[Argument("id", "container-id", "The container")],
    discussion="A is added, C changed, D deleted. Volumes and mounts are left out.",
)
