"""`container network delete [-a] [NAME …]`."""

from __future__ import annotations

from container.cli import client, logger, many, output
from container.cli.spec import Command, Values
from container.errors import ContainerError, ErrorCode, invalid_argument, not_found

BUILTIN = "default"


def run(values: Values) -> int:
    """Delete networks, and print the names of those that went."""
    names = many.check(
        values,
        missing="no networks specified and --all not supplied",
        conflict="explicitly supplied network name(s) conflict with the --all flag",
    )
    known = [each["id"] for each in client.networks()]
    if values.all:
        names = [name for name in known if name != BUILTIN]
    if BUILTIN in names:
        raise invalid_argument(f"cannot delete a builtin network: {BUILTIN}")
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise not_found(f"failed to delete one or more networks: {logger.quoted(unknown)}")
    failed = [name for name in names if not _delete(name)]
    if failed:
        text = f"delete failed for one or more networks: {logger.quoted(sorted(failed))}"
        raise ContainerError(ErrorCode.INTERNAL, text)
    return 0


def _delete(name: str) -> bool:
    try:
        client.call("Networks.Delete", {"id": name})
    except ContainerError as error:
        logger.warning("failed to delete network", error=error.describe(), id=name)
        return False
    output.line(name)
    return True


COMMAND = Command(
    "Delete networks",
    run,
    options=[many.all_option("Delete all networks but the built-in ones")],
    arguments=[many.ids_argument("The networks", "networks")],
)
