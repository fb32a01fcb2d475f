"""Containers, images, networks and volumes under the names of docker's `inspect`, for templates."""

from __future__ import annotations

from container.cli.template.values import Record, Strings
from container.cli.view import container as line
from container.model.cpus import PERIOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEVER = "0001-01-01T00:00:00Z"  # docker's date for what has not been
NANO = 1_000_000_000


def container(snapshot: dict[str, Any]) -> Record:
    """Our own JSON, and docker's names for what it says."""
    configuration = snapshot["configuration"]
    process = configuration["initProcess"]
    image = configuration["image"]
    fields = {
        "Id": snapshot["id"],
        "Name": f"/{snapshot['id']}",
        "Created": configuration.get("creationDate", NEVER),
        "Path": process.get("executable", ""),
        "Args": process.get("arguments", []),
        "Image": image.get("descriptor", {}).get("digest", ""),
        "Platform": configuration["platform"]["os"],
        "State": _state(snapshot),
        "Config": _config(snapshot["id"], configuration),
        "HostConfig": _host_config(configuration),
        "Mounts": [_mount(each) for each in configuration.get("mounts", ())],
        "NetworkSettings": _network_settings(snapshot),
    }
    return Record(fields, snapshot, whole=True)


def _state(snapshot: dict[str, Any]) -> dict[str, Any]:
    status, word = snapshot["status"], line.state(snapshot)
    return {
        "Status": word,
        "Running": word in ("running", "stopping"),
        "Paused": False,
        "Restarting": False,
        "Dead": word == "dead",
        "ExitCode": status.get("exitCode", 0),
        "Error": status.get("reason", ""),
        "StartedAt": status.get("startedDate", NEVER),
        "FinishedAt": status.get("exitedDate", NEVER),
    }


def _config(id: str, configuration: dict[str, Any]) -> dict[str, Any]:
    process = configuration["initProcess"]
    user = process.get("user", {})
    ids = user.get("id", {})
    return {
        "Hostname": configuration.get("hostname", id.partition(".")[0]),
        "Image": configuration["image"]["reference"],
        "Cmd": [process.get("executable", ""), *process.get("arguments", ())],
        "Env": process.get("environment", []),
        "WorkingDir": process.get("workingDirectory", ""),
        "User": user.get("raw", {}).get("userString", "") or (f"{ids['uid']}:{ids['gid']}" if ids else ""),
        "Tty": process.get("terminal", False),
        "Labels": Strings(configuration["labels"]),
        "StopSignal": configuration.get("stopSignal", "SIGTERM"),
    }


def _host_config(configuration: dict[str, Any]) -> dict[str, Any]:
    resources = configuration["resources"]
    networks = configuration.get("networks", ())
    return {
        "AutoRemove": configuration.get("autoRemove", False),
        "Binds": [f"{each['source']}:{each['destination']}" for each in configuration.get("mounts", ())],
        "CapAdd": configuration.get("capAdd", []),
        "CapDrop": configuration.get("capDrop", []),
        "Memory": resources["memoryInBytes"],
        "NanoCpus": resources.get("cpuQuota", resources["cpus"] * PERIOD) * (NANO // PERIOD),
        "NetworkMode": networks[0]["network"] if networks else "none",
        "PortBindings": _bindings(configuration),
        "ReadonlyRootfs": configuration.get("readOnly", False),
    }


def _bindings(configuration: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in configuration.get("publishedPorts", ()):
        for offset in range(port["count"]):
            binding = {"HostIp": port["hostAddress"], "HostPort": str(port["hostPort"] + offset)}
            found.setdefault(f"{port['containerPort'] + offset}/{port['proto']}", []).append(binding)
    return found


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    ((kind, detail),) = mount["type"].items()
    return {
        "Type": "bind" if kind == "virtiofs" else kind,
        "Name": detail.get("name", ""),
        "Source": mount["source"],
        "Destination": mount["destination"],
        "Mode": ",".join(mount["options"]),
        "RW": "ro" not in mount["options"],
    }


def _network_settings(snapshot: dict[str, Any]) -> dict[str, Any]:
    attached = snapshot["status"]["networks"]
    networks = {each["network"]: _endpoint(each) for each in attached}
    first = _endpoint(attached[0]) if attached else _endpoint({})
    running = snapshot["status"]["state"] == "running"
    return {**first, "Networks": networks, "Ports": _bindings(snapshot["configuration"]) if running else {}}


def _endpoint(attachment: dict[str, Any]) -> dict[str, Any]:
    address, _, prefix = attachment.get("ipv4Address", "").partition("/")
    address6, _, prefix6 = attachment.get("ipv6Address", "").partition("/")
    return {
        "IPAddress": address,
        "IPPrefixLen": int(prefix or 0),
        "Gateway": attachment.get("ipv4Gateway", ""),
        "GlobalIPv6Address": address6,
        "GlobalIPv6PrefixLen": int(prefix6 or 0),
        "IPv6Gateway": attachment.get("ipv6Gateway", ""),
        "MacAddress": attachment.get("macAddress", ""),
    }


def image(found: dict[str, Any]) -> Record:
    """An image; what differs between its platforms is that of the host's, or of the first."""
    from container.model import reference
    from container.model.platform import host_architecture

    configuration = found["configuration"]
    full, digest = configuration["name"], configuration["descriptor"]["digest"]
    variants = found["variants"]
    architecture = host_architecture()
    own = [each for each in variants if each["platform"]["architecture"] == architecture] or variants
    document = own[0]["config"] if own else {}
    name, tag = reference.name_and_tag(full)
    fields = {
        "Id": f"sha256:{found['id']}",
        "RepoTags": [f"{name}:{tag}"] if tag else [],
        "RepoDigests": [f"{name}@{digest}"],
        "Created": document.get("created", NEVER),
        "Architecture": document.get("architecture", ""),
        "Os": document.get("os", ""),
        "Size": sum(each["size"] for each in own[:1]),
        "Config": {**document.get("config", {}), "Labels": Strings(document.get("config", {}).get("Labels") or {})},
        "RootFS": {"Type": "layers", "Layers": document.get("rootfs", {}).get("diff_ids", [])},
    }
    return Record(fields, found, whole=True)


def network(found: dict[str, Any]) -> Record:
    """A network."""
    configuration, status = found["configuration"], found["status"]
    fields = {
        "Id": found["id"],
        "ID": found["id"],
        "Name": found["id"],
        "Created": configuration["creationDate"],
        "Driver": "bridge",
        "Scope": "local",
        "Internal": configuration["mode"] == "hostOnly",
        "EnableIPv6": "ipv6Subnet" in status,
        "IPAM": {"Driver": "default", "Config": [{"Subnet": status["ipv4Subnet"], "Gateway": status["ipv4Gateway"]}]},
        "Labels": Strings(configuration["labels"]),
        "Options": configuration["options"],
    }
    return Record(fields, found, whole=True)


def volume(found: dict[str, Any]) -> Record:
    """A volume; its mount point is its disk."""
    configuration = found["configuration"]
    fields = {
        "Name": found["id"],
        "CreatedAt": configuration["creationDate"],
        "Driver": configuration["driver"],
        "Scope": "local",
        "Mountpoint": configuration["source"],
        "Labels": Strings(configuration["labels"]),
        "Options": configuration["options"],
    }
    return Record(fields, found, whole=True)
