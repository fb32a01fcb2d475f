"""`container registry logout SERVER`."""

from __future__ import annotations

from container.cli import client
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Forget the credentials for a registry; one that is not known is no error."""
    client.call("Images.Logout", {"server": values.server})
    return 0


COMMAND = Command(
    "Log out from a registry",
    run,
    arguments=[Argument("server", "server", "The registry, host[:port]")],
)
