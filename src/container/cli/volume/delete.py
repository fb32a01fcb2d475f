"""`container volume delete [-a] [NAME …]`."""

from __future__ import annotations

from container.cli import client, logger, many, output
from container.cli.spec import Command, Values
from container.errors import ContainerError, ErrorCode, not_found


def run(values: Values) -> int:
    """Delete volumes, and print the names of those that went."""
    names = many.check(
        values,
        missing="no volumes specified and --all not supplied",
        conflict="explicitly supplied volume name(s) conflict with the --all flag",
    )
    known = [each["id"] for each in client.volumes()]
    if values.all:
        names = known
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise not_found(f"failed to delete one or more volumes: {logger.quoted(unknown)}")
    failed = [name for name in names if not _delete(name)]
    if failed:
        text = f"delete failed for one or more volumes: {logger.quoted(sorted(failed))}"
        raise ContainerError(ErrorCode.INTERNAL, text)
    return 0


def _delete(name: str) -> bool:
    try:
        client.call("Volumes.Delete", {"id": name})
    except ContainerError as error:
        logger.warning("failed to delete volume", error=error.describe(), id=name)
        return False
    output.line(name)
    return True


COMMAND = Command(
    "Delete volumes",
    run,
    options=[many.all_option("Delete all volumes")],
    arguments=[many.ids_argument("The volumes", "volumes")],
)
