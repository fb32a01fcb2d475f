"""`container volume inspect NAME …`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.spec import Argument, Command, Values
from container.errors import not_found


def run(values: Values) -> int:
    """Print volumes as a JSON array, in listing order."""
    wanted = set(values.names)
    found = [each for each in client.volumes() if each["id"] in wanted]
    missing = wanted - {each["id"] for each in found}
    if missing:
        raise not_found(f"volume not found: {', '.join(sorted(missing))}")
    output.print_json(found)
    return 0


COMMAND = Command(
    "Show everything that is known of volumes",
    run,
    arguments=[Argument("names", "volumes", "The volumes", many=True)],
)
