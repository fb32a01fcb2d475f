"""`container exec [options] ID CMD [ARG …]`."""

from __future__ import annotations

from container.cli import attach, client, output
from container.cli.options import process
from container.cli.progress import Progress
from container.cli.spec import Argument, Command, Values, flag
from container.errors import ContainerError, ErrorCode


def run(values: Values) -> int:
    """Run a further process in a running container; its exit code."""
    request = process.request(values, values.arguments)
    id = client.container(values.id)["id"] if values.detach else values.id  # it is printed whole
    session = attach.Session(id, tty=values.tty, interactive=values.interactive, attached=not values.detach)
    try:
        code = session.follow("Containers.Exec", {"process": request}, Progress())
    except ContainerError as error:
        if error.code is ErrorCode.NOT_FOUND:
            client.container(id)  # says so when it is the container that is missing
        raise
    if values.detach:
        output.line(id)
    return code


COMMAND = Command(
    "Run a further process in a running container",
    run,
    options=[
        *process.OPTIONS,
        flag("detach", "-d, --detach", "Leave the process running and print the container's id"),
    ],
    arguments=[
        Argument("id", "container-id", "The container"),
        Argument("arguments", "arguments", "The program and its arguments", many=True),
    ],
    passthrough=True,
)
