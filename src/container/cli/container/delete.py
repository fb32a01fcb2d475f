"""`container delete [-a] [-f] [ID …]`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Command, Values, flag

CONFLICT = "explicitly supplied container ID(s) conflict with the --all flag"


def run(values: Values) -> int:
    """Delete containers, all at once."""
    ids = many.check(values, missing="no containers specified and --all not supplied", conflict=CONFLICT)
    if values.all:
        found = [each for each in client.containers(all=True) if not many.is_machine(each)]
        ids = [each["id"] for each in found if values.force or each["status"]["state"] == "stopped"]

    def delete(id: str) -> str:
        return str(client.call("Containers.Delete", {"id": id, "force": values.force}).get("id", id))

    return many.each(ids, delete, "failed to delete container", parallel=True)


COMMAND = Command(
    "Delete containers",
    run,
    options=[
        many.all_option("Delete all containers that do not run"),
        flag("force", "-f, --force", "Kill the containers that run"),
    ],
    arguments=[many.ids_argument()],
)
