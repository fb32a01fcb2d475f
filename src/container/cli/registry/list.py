"""`container registry list [--format F] [-q]`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.spec import Command, Values

HEADER = ("HOSTNAME", "USERNAME", "MODIFIED", "CREATED")


def run(values: Values) -> int:
    """List the registries that there are credentials for; secrets are never shown."""
    registries = client.call("Images.Registries")["registries"]
    output.print_list(
        registries,
        format=values.format,
        quiet=values.quiet,
        header=HEADER,
        rows=((each["name"], each["username"], each["modificationDate"], each["creationDate"]) for each in registries),
        names=(each["name"] for each in registries),
    )
    return 0


COMMAND = Command("List the registries that you are logged in to", run, options=[output.format_option(), output.QUIET])
