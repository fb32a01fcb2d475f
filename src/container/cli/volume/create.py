"""`container volume create [options] NAME`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.options import labels
from container.cli.spec import Argument, Command, Option, Values


def run(values: Values) -> int:
    """Make a volume and print its name."""
    options = labels.parse_pairs(values.options)
    if values.size is not None:
        options["size"] = values.size
    request = {"name": values.name, "options": options, "labels": labels.parse_pairs(values.label)}
    volume = client.call("Volumes.Create", {"request": request})["volume"]
    output.line(volume["id"])
    return 0


COMMAND = Command(
    "Create a volume",
    run,
    options=[
        Option("label", "--label", "Set a label, key[=value]", value="label", many=True),
        Option(
            "options",
            "--opt",
            "Set an option: size=<size>, journal=<writeback|ordered|journal>[:<size>], type=<block|directory>",
            value="opt",
            many=True,
        ),
        Option("size", "-s", "Size, with k, m, g, t or p; 512g if not given", value="size"),
    ],
    arguments=[Argument("name", "name", "Name of the volume")],
)
