"""A container in a line: what `list` shows beyond the contract's columns, and docker's names for templates."""

from __future__ import annotations

from container.cli import ages
from container.cli.template.values import Method, Record
from container.model import reference
from container.model.ids import is_generated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHORT_ID = 12
STATES = {"stopped": "exited", "unknown": "dead"}  # docker's words for ours


def short_id(id: str) -> str:
    """The first characters of an id that was generated; a name is left whole."""
    return id[:SHORT_ID] if is_generated(id) else id


def state(snapshot: dict[str, Any]) -> str:
    """Docker's word for the state."""
    status = snapshot["status"]
    if status["state"] == "stopped" and "startedDate" not in status and "exitCode" not in status:
        return "exited" if "reason" in status else "created"
    word: str = status["state"]
    return STATES.get(word, word)


def status(snapshot: dict[str, Any]) -> str:
    """`Up 2 minutes`, `Up 2 minutes (unresponsive)`, `Exited (3) 2 minutes ago`, `Created`."""
    given, word = snapshot["status"], state(snapshot)
    if word in ("running", "stopping"):
        up = f"Up {ages.span(ages.seconds_since(given.get('startedDate', '')))}"
        remark = "stopping" if word == "stopping" else "unresponsive" if "unresponsiveSince" in given else ""
        return f"{up} ({remark})" if remark else up
    if word != "exited":
        return word.capitalize()
    code = f" ({given['exitCode']})" if "exitCode" in given else ""
    return f"Exited{code} {ages.ago(given.get('exitedDate', ''))}".rstrip()


def ports(snapshot: dict[str, Any]) -> str:
    """`0.0.0.0:8080->80/tcp`, comma-joined; nothing for a container that does not run."""
    if snapshot["status"]["state"] != "running":
        return ""
    return ", ".join(_port(each) for each in snapshot["configuration"].get("publishedPorts", ()))


def _port(port: dict[str, Any]) -> str:
    address = f"[{port['hostAddress']}]" if ":" in port["hostAddress"] else port["hostAddress"]
    last = port["count"] - 1
    host, inside = (
        f"{port[key]}-{port[key] + last}" if last else str(port[key]) for key in ("hostPort", "containerPort")
    )
    return f"{address}:{host}->{inside}/{port['proto']}"


def mounts(snapshot: dict[str, Any]) -> list[str]:
    """Names of volumes and paths of the host."""
    found = []
    for mount in snapshot["configuration"].get("mounts", ()):
        ((kind, detail),) = mount["type"].items()
        found.append(str(detail.get("name", "")) if kind == "volume" else mount["source"])
    return found


def record(snapshot: dict[str, Any], *, whole: bool) -> Record:
    """The fields of docker's `ps --format`; `whole` ids and image references are not shortened."""
    configuration = snapshot["configuration"]
    process, labels = configuration["initProcess"], configuration["labels"]
    image = configuration["image"]["reference"]
    command = " ".join([process.get("executable", ""), *process.get("arguments", ())])
    created = configuration.get("creationDate", "")
    fields = {
        "Command": f'"{command}"' if whole or len(command) <= 20 else f'"{command[:19]}…"',
        "CreatedAt": created,
        "ID": snapshot["id"] if whole else short_id(snapshot["id"]),
        "Image": image if whole else reference.denormalise(image),
        "Label": Method(lambda key: labels.get(key, "")),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "LocalVolumes": str(sum("/" not in each for each in mounts(snapshot))),
        "Mounts": ",".join(mounts(snapshot)),
        "Names": snapshot["id"],
        "Networks": ",".join(each["network"] for each in configuration.get("networks", ())),
        "Ports": ports(snapshot),
        "RunningFor": ages.ago(created),
        "State": state(snapshot),
        "Status": status(snapshot),
    }
    return Record(fields, snapshot)
