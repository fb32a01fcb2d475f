"""`container port ID`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.spec import Argument, Command, Values


def run(values: Values) -> int:
    """Print the published ports of a container, `80/tcp -> 0.0.0.0:8080`, a line each."""
    for port in client.container(values.id)["configuration"]["publishedPorts"]:
        host = f"[{port['hostAddress']}]" if ":" in port["hostAddress"] else port["hostAddress"]
        for offset in range(port["count"]):
            inside = f"{port['containerPort'] + offset}/{port['proto']}"
            output.line(f"{inside} -> {host}:{port['hostPort'] + offset}")
    return 0


COMMAND = Command(
    "Show the published ports of a container",
    run,
    arguments=[Argument("id", "container-id", "The container")],
)
