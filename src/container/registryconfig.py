"""Section `[registry.hosts."HOST"]` of config.toml: mirrors, certificates. Beside `config`, for its one consumer.

[registry.hosts."docker.io"]
mirrors = ["https://mirror.example", "10.0.0.5:5000"]
[registry.hosts."registry.example:5000"]
ca = "/etc/ssl/registry.pem"    # trusted besides the system's
insecure = true                 # or: any certificate will do
"""

from typing import Any, NamedTuple


class RegistryHost(NamedTuple):
    """What is configured for one host; `mirrors` are asked first, in order."""

    mirrors: list[str]
    ca: str | None
    insecure: bool


def problem(value: Any) -> str | None:
    """What is wrong with a value of `registry.hosts`, None for nothing."""
    if not isinstance(value, dict):
        return "expected a table"
    for host, table in value.items():
        if not isinstance(table, dict):
            return f"{host}: expected a table"
        mirrors = table.get("mirrors", [])
        if not isinstance(mirrors, list) or not all(isinstance(item, str) and item for item in mirrors):
            return f"{host}.mirrors: expected a list of hosts or URLs"
        if not isinstance(table.get("ca", ""), str):
            return f"{host}.ca: expected a path"
        if not isinstance(table.get("insecure", False), bool):
            return f"{host}.insecure: expected a boolean"
    return None


def hosts(tables: dict[str, dict[str, Any]]) -> dict[str, RegistryHost]:
    """The configured hosts of `config.load`'s tables."""
    found = tables["registry"].get("hosts", {})
    return {
        host: RegistryHost(list(table.get("mirrors", [])), table.get("ca"), table.get("insecure", False))
        for host, table in found.items()
    }
