"""`container inspect [-f F] ID …`."""

from __future__ import annotations

from container.cli import client, many, output
from container.cli.spec import Argument, Command, Values
from container.errors import ContainerError, ErrorCode


def run(values: Values) -> int:
    """Print containers as a JSON array, in listing order."""
    found, missing = {}, []
    for word in dict.fromkeys(values.ids):
        try:
            snapshot = client.container(word)
        except ContainerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            missing.append(word)
        else:
            found[snapshot["id"]] = snapshot
    return many.inspect("container", [found[id] for id in sorted(found)], [*found, *missing], values.format)


COMMAND = Command(
    "Show everything that is known of containers",
    run,
    options=[output.INSPECT_FORMAT],
    arguments=[Argument("ids", "container-ids", "The containers", many=True)],
)
