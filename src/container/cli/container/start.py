"""`container start [-a] [-i] ID`."""

from __future__ import annotations

from container.cli import attach, client, output, progress
from container.cli.spec import Argument, Command, Values, flag
from container.errors import invalid_argument


def run(values: Values) -> int:
    """Start a stopped container; attached, the exit code of its process."""
    snapshot = client.container(values.id)
    id = snapshot["id"]
    attached = values.attach or values.interactive
    if snapshot["status"]["state"] == "running":
        if attached:
            why = "attach is currently unsupported on already running containers"
            hint = "`container exec` runs a further process in it, `container logs -f` shows its output"
            raise invalid_argument(f"cannot attach to {id}: {why}; {hint}")
        output.line(id)
        return 0
    tty = bool(snapshot["configuration"]["initProcess"]["terminal"])
    session = attach.Session(id, tty=tty, interactive=values.interactive, attached=attached)
    with progress.create("ansi") as display:
        code = attach.start(session, display)
    if not attached:
        output.line(id)
    return code


COMMAND = Command(
    "Start a container",
    run,
    options=[
        flag("attach", "-a, --attach", "Attach standard output and standard error"),
        flag("interactive", "-i, --interactive", "Attach standard input"),
    ],
    arguments=[Argument("id", "container-id", "The container")],
)
