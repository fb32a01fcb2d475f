"""`container run [options] IMAGE [ARG …]`."""

from __future__ import annotations

import os

from container.cli import attach, logger, output, progress
from container.cli.options import create, networks
from container.cli.spec import Command, Values


def run(values: Values) -> int:
    """Create, start and attach; whatever fails before the process runs removes the record again."""
    request = create.request(values)
    if values.ssh and attach.SSH_VARIABLE not in os.environ:
        logger.warning(f"{attach.SSH_VARIABLE} is not set: no ssh agent is forwarded")
    session = attach.Session(
        request.get("id", ""), tty=values.tty, interactive=values.interactive, attached=not values.detach
    )
    with progress.create(values.progress, progress.RUN_STEPS) as display:
        session.id = attach.create(request, display)
        running = False

        def on_started() -> None:
            nonlocal running
            attach.write_cidfile(values.cidfile, session.id)
            running = True

        try:
            code = attach.start(session, display, on_started)
        except BaseException:
            display.finish()
            if not running:
                attach.discard(session.id)
            raise
    if values.detach:
        output.line(session.id)
    return code


COMMAND = Command(
    "Create and start a container",
    run,
    options=create.options([progress.OPTION]),
    arguments=create.ARGUMENTS,
    passthrough=True,
    validate=networks.check_dns,
)
