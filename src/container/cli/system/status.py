"""`container system status [-p P] [--format F]`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.spec import Command, Option, Values
from container.errors import ContainerError
from container.paths import APISERVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIX = Option("prefix", "-p, --prefix", "Prefix of the services' names", value="prefix", default="io.container.")
FIELDS = (
    ("appRoot", "appRoot"),
    ("installRoot", "installRoot"),
    ("logRoot", "logRoot"),
    ("apiserver.version", "apiServerVersion"),
    ("apiserver.commit", "apiServerCommit"),
    ("apiserver.build", "apiServerBuild"),
    ("apiserver.appName", "apiServerAppName"),
)
NOT_REGISTERED = "apiserver is not running and not registered with the supervisor"
NOT_RUNNING = "apiserver is not running"


def run(values: Values) -> int:
    """Say whether the API server runs; exit code 1 when it does not."""
    health = client.health()
    if health is None:
        return _down(values.format)
    if values.format != "table":
        output.write(output.render({"status": "running", **health}, values.format))
        return 0
    rows = [("status", "running"), *((label, health.get(key, "")) for label, key in FIELDS)]
    accelerator, reason = health.get("accelerator", ""), health.get("acceleratorReason", "")
    rows.append(("accelerator", f"{accelerator} ({reason})" if reason else accelerator))
    rows.append(("supervisor", health.get("supervisor", "")))
    rows.append(("starts", str(health.get("starts", 0))))
    rows.append(("repeated starts", str(health.get("repeatedStarts", 0))))
    output.write(output.table(("FIELD", "VALUE"), rows))
    return 0


def _down(format: str) -> int:
    registered = _is_registered()
    if format == "table":
        output.line(NOT_RUNNING if registered else NOT_REGISTERED)
    else:
        empty: dict[str, Any] = {key: "" for _, key in FIELDS}
        status = "not running" if registered else "unregistered"
        output.write(output.render({"status": status, **empty}, format))
    return 1


def _is_registered() -> bool:
    try:
        jobs = client.call("Supervisor.List", timeout=client.PING_TIMEOUT)["jobs"]
    except ContainerError:
        return False
    return any(each["job"]["label"] == APISERVER for each in jobs)


COMMAND = Command("Show whether the services run", run, options=[PREFIX, output.format_option()])
