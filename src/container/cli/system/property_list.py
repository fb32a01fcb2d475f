"""`container system property list [--format json|toml]`."""

from __future__ import annotations

import os

from container import config
from container.cli import client, output
from container.cli.spec import Command, Option, Values
from container.paths import Roots


def run(values: Values) -> int:
    """Print the configuration in force, with the defaults."""
    health = client.health()
    if health is not None:
        os.environ.update({"CONTAINER_APP_ROOT": health["appRoot"], "CONTAINER_INSTALL_ROOT": health["installRoot"]})
    output.write(output.render(config.load(Roots.from_environment()), values.format))
    return 0


COMMAND = Command(
    "Show the configuration in force",
    run,
    options=[
        Option("format", "--format", "Format of the output", value="format", default="toml", choices=("json", "toml"))
    ],
)
