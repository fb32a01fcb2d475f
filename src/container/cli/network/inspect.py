"""`container network inspect NAME …`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.spec import Argument, Command, Values
from container.errors import not_found


def run(values: Values) -> int:
    """Print networks as a JSON array, in listing order."""
    wanted = set(values.names)
    found = [each for each in client.networks() if each["id"] in wanted]
    missing = wanted - {each["id"] for each in found}
    if missing:
        raise not_found(f"network not found: {', '.join(sorted(missing))}")
    output.print_json(found)
    return 0


COMMAND = Command(
    "Show everything that is known of networks",
    run,
    arguments=[Argument("names", "networks", "The networks", many=True)],
)
