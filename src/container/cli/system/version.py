"""`container system version [--format F]`."""

from __future__ import annotations

from container import version
from container.cli import client, output
from container.cli.spec import Command, Values

SERVER_TIMEOUT = 2.0


def run(values: Values) -> int:
    """Print the versions of the client, and of the API server when it answers soon."""
    items = [
        {
            "version": version.VERSION,
            "buildType": version.BUILD,
            "commit": version.COMMIT,
            "appName": "container",
        }
    ]
    health = client.health(SERVER_TIMEOUT)
    if health is not None:
        items.append(
            {
                "version": health["apiServerVersion"],
                "buildType": health["apiServerBuild"],
                "commit": health["apiServerCommit"],
                "appName": health["apiServerAppName"],
            }
        )
    output.print_list(
        items,
        format=values.format,
        quiet=False,
        header=("COMPONENT", "VERSION", "BUILD", "COMMIT"),
        rows=((each["appName"], each["version"], each["buildType"], each["commit"]) for each in items),
        names=(),
    )
    return 0


COMMAND = Command("Show the versions of the client and of the services", run, options=[output.format_option()])
