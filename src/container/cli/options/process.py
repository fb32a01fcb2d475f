"""PROCESS OPTIONS: what `run`, `create` and `exec` say of a process (contract 1.9, 2.1)."""

from __future__ import annotations

from container.cli.options import environment, ulimits
from container.cli.spec import Option, Values, flag, integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GROUP = "PROCESS OPTIONS"
MAXIMUM_ID = 2147483647


def _identity(text: str) -> int:
    number = integer(text)
    if not 0 <= number <= MAXIMUM_ID:
        raise ValueError(f"expected a number from 0 to {MAXIMUM_ID}")
    return number


OPTIONS = [
    Option("env", "-e, --env", "Set an environment variable, key=value or key", value="env", many=True, group=GROUP),
    Option(
        "env_file", "--env-file", "Read environment variables from a file", value="env-file", many=True, group=GROUP
    ),
    Option("gid", "--gid", "Group id of the process", value="gid", parse=_identity, group=GROUP),
    flag("interactive", "-i, --interactive", "Attach standard input", group=GROUP),
    flag("tty", "-t, --tty", "Give the process a terminal", group=GROUP),
    Option("user", "-u, --user", "User of the process, name|uid[:group|gid]", value="user", group=GROUP),
    Option("uid", "--uid", "User id of the process", value="uid", parse=_identity, group=GROUP),
    Option("ulimit", "--ulimit", "Set a resource limit, type=soft[:hard]", value="limit", many=True, group=GROUP),
    Option("workdir", "-w, --workdir, --cwd", "Working directory of the process", value="dir", group=GROUP),
]


def request(values: Values, arguments: list[str]) -> dict[str, Any]:
    """The ProcessRequest in JSON shape."""
    process: dict[str, Any] = {
        "arguments": arguments,
        "environment": environment.environment(values.env_file, values.env),
        "terminal": values.tty,
        "interactive": values.interactive,
        "rlimits": ulimits.parse_ulimits(values.ulimit),
    }
    optional = {
        "entrypoint": getattr(values, "entrypoint", None),
        "workingDirectory": values.workdir,
        "user": values.user,
        "uid": values.uid,
        "gid": values.gid,
    }
    process.update((key, value) for key, value in optional.items() if value is not None)
    return process
