"""What `list --filter` knows of containers."""

from __future__ import annotations

from container.cli.options import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTION = filters.option("ancestor", "exited", "id", filters.LABEL, "name", "network", "publish", "status", "volume")
OF_ANY_STATE = ("exited", "status")  # a filter by one of these is also about containers that do not run


def _name(snapshot: dict[str, Any], wanted: str) -> bool:
    import re

    try:
        return re.search(wanted.removeprefix("/"), snapshot["id"]) is not None
    except re.error:
        return wanted in snapshot["id"]


def _ancestor(snapshot: dict[str, Any], wanted: str) -> bool:
    from container.model import reference

    image = snapshot["configuration"]["image"]
    name, tag = reference.name_and_tag(image["reference"])
    digest = image["descriptor"]["digest"].removeprefix("sha256:")
    known = (image["reference"], name, f"{name}:{tag}")
    return wanted in known or (len(wanted) >= 4 and digest.startswith(wanted.removeprefix("sha256:")))


def _publish(snapshot: dict[str, Any], wanted: str) -> bool:
    port, _, protocol = wanted.partition("/")
    return any(
        each["proto"] == (protocol or "tcp") and port == str(each["hostPort"] + offset)
        for each in snapshot["configuration"]["publishedPorts"]
        for offset in range(each["count"])
    )


def tests() -> filters.Tests:
    """For each key whether a container passes."""
    from container.cli.view import container as view

    def volume(snapshot: dict[str, Any], wanted: str) -> bool:
        places = (mount["destination"] for mount in snapshot["configuration"]["mounts"])
        return wanted in view.mounts(snapshot) or wanted in places

    def network(snapshot: dict[str, Any], wanted: str) -> bool:
        return any(each["network"] == wanted for each in snapshot["configuration"]["networks"])

    return {
        "ancestor": _ancestor,
        "exited": lambda snapshot, wanted: str(snapshot["status"].get("exitCode", "")) == wanted,
        "id": lambda snapshot, wanted: bool(snapshot["id"].startswith(wanted)),
        filters.LABEL: lambda snapshot, wanted: filters.label(snapshot["configuration"]["labels"], wanted),
        "name": _name,
        "network": network,
        "publish": _publish,
        "status": lambda snapshot, wanted: wanted in (view.state(snapshot), snapshot["status"]["state"]),
        "volume": volume,
    }
