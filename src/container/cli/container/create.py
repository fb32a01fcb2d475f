"""`container create [options] IMAGE [ARG …]`."""

from __future__ import annotations

from container.cli import attach, output, progress
from container.cli.options import create, networks
from container.cli.spec import Command, Values
from container.errors import ContainerError


def run(values: Values) -> int:
    """Write the record of a container; print its id."""
    with progress.create("ansi", progress.CREATE_STEPS) as display:
        id = attach.create(create.request(values), display)
    try:
        attach.write_cidfile(values.cidfile, id)
    except ContainerError:
        attach.discard(id)
        raise
    output.line(id)
    return 0


COMMAND = Command(
    "Create a container",
    run,
    options=create.options([]),
    arguments=create.ARGUMENTS,
    passthrough=True,
    validate=networks.check_dns,
)
