"""`container stop [-a] [-s SIG] [-t SEC] [ID …]`."""

from __future__ import annotations

from container.cli import client, many
from container.cli.spec import Command, Option, Values, integer
from container.model.signals import parse_signal

CONFLICT = "explicitly supplied container IDs conflict with the --all flag"
PATIENCE = 60.0  # seconds beyond `--time` that stopping may take


def _seconds(text: str) -> int:
    number = integer(text)
    if number < 0:
        raise ValueError("expected 0 or more seconds")
    return number


def run(values: Values) -> int:
    """Stop containers, all at once; print each id when it is stopped."""
    if values.signal is not None:
        parse_signal(values.signal)

    def stop(id: str) -> str:
        call = {"id": id, "signal": values.signal, "timeout": values.time}
        return str(client.call("Containers.Stop", call, timeout=values.time + PATIENCE).get("id", id))

    return many.each(many.containers(values, CONFLICT, all=True), stop, "failed to stop container", parallel=True)


COMMAND = Command(
    "Stop containers",
    run,
    options=[
        many.all_option("Stop all containers"),
        Option(
            "signal",
            "-s, --signal",
            "Signal that asks the process to end",
            value="signal",
            unset="the image's, else TERM",
        ),
        Option("time", "-t, --time", "Seconds before the container is killed", value="time", default=5, parse=_seconds),
    ],
    arguments=[many.ids_argument()],
)
