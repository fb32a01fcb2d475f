"""`container kill [-a] [-s SIG] [ID …]`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.container.stop import CONFLICT
from container.cli.spec import Command, Option, Values
from container.model.signals import parse_signal


def run(values: Values) -> int:
    """Send a signal to containers, one after the other."""
    parse_signal(values.signal)

    def kill(id: str) -> str:
        return str(client.call("Containers.Kill", {"id": id, "signal": values.signal}).get("id", id))

    return many.each(many.containers(values, CONFLICT, all=False), kill, "failed to kill container", parallel=False)


COMMAND = Command(
    "Send a signal to containers",
    run,
    options=[
        many.all_option("Signal all running containers"),
        Option("signal", "-s, --signal", "The signal to send", value="signal", default="KILL"),
    ],
    arguments=[many.ids_argument()],
)
