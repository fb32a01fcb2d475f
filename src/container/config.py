"""`config.toml`: what a system's owner may set, from which files it comes, and what holds without them (contract 4.1).

Sources, key by key, the first one that has it: `<app root>/config/config.toml` (a read-only copy of the user's file,
taken at `system start`), `<install root>/etc/container/config.toml`, the defaults. A missing file is fine, unknown keys
are ignored. Each consumer takes its own view (`ContainerDefaults`, `NetworkDefaults` …), nobody the whole.
"""

import contextlib
import os
import re
import tomllib
from collections.abc import Callable
from typing import Any, NamedTuple

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, os_reason
from container.paths import Roots

Tables = dict[str, dict[str, Any]]

MIB = 1 << 20
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(.*)", re.DOTALL)
_UNIT = re.compile(r"(?:([bkmgtp])(?:i?b)?)?")
_UNITS = "bkmgtp"


class ContainerDefaults(NamedTuple):
    """What a container gets that asks for nothing."""

    cpus: int
    memory_in_bytes: int
    inotify: bool = False  # bind mounts tell of what the host changes, as with their option `inotify`


class NetworkDefaults(NamedTuple):
    """Subnets of the `default` network in CIDR; None: the system chooses."""

    subnet: str | None
    subnet_v6: str | None


def load(roots: Roots) -> Tables:
    """The effective configuration as plain tables, defaults included; sizes are text such as `1gb`.

    Raises ContainerError: internalError `failed to load configuration from …` for an unreadable file, invalidArgument
    `failed to decode configuration: …` for bad syntax or a value of the wrong type.
    """
    tables = _defaults()
    for path in (os.path.join(roots.install, "etc", "container", "config.toml"), _copy(roots)):
        _overlay(tables, _checked(_parse(path), path))
    return tables


def install_user_config(roots: Roots) -> None:
    """Copy the user's file into the app root with mode 0444, or remove the copy when the user has none.

    Raises ContainerError as `load` does, before anything is changed.
    """
    target, data = _copy(roots), _read(roots.config)
    if data is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        return
    _checked(_decode(data, roots.config), roots.config)
    beside = f"{target}.new"
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        with open(beside, "wb") as file:
            os.fchmod(file.fileno(), 0o444)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, target)
    except OSError as error:
        raise internal(f"failed to copy the configuration {roots.config} to {target}: {os_reason(error)}") from error


def container_defaults(tables: Tables) -> ContainerDefaults:
    """Section `[container]`."""
    section = tables["container"]
    return ContainerDefaults(section["cpus"], parse_size(section["memory"]), section.get("inotify", False))


def network_defaults(tables: Tables) -> NetworkDefaults:
    """Section `[network]`."""
    section = tables["network"]
    return NetworkDefaults(section.get("subnet"), section.get("subnetv6"))


def dns_domain(tables: Tables) -> str | None:
    """`dns.domain`: the domain of container names, if set."""
    return tables["dns"].get("domain")


def registry_domain(tables: Tables) -> str:
    """`registry.domain`: where a reference without a domain points to."""
    return str(tables["registry"]["domain"])


def parse_size(text: str) -> int:
    """Bytes of a size (contract 1.8): a decimal number and a unit `b k m g t p`, 1024-based, `b` or `ib` may follow.

    Raises ContainerError(invalidArgument): `invalid size`, `invalid symbol: X`.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise invalid_argument(f"invalid size '{text}'; expected a number and a unit, as 512m or 2g")
    number, symbol = match.group(1), match.group(2).strip().lower()
    unit = _UNIT.fullmatch(symbol)
    if unit is None:
        raise invalid_argument(f"invalid symbol: {symbol} in size '{text}'; the units are b, k, m, g, t and p")
    factor: int = 1024 ** _UNITS.index(unit.group(1) or "b")
    whole, _, fraction = number.partition(".")
    return int(whole or "0") * factor + int(fraction or "0") * factor // int(10 ** len(fraction))


def _normal_size(text: str) -> str:
    """`2048MB` → `2048mb`, `1 G` → `1gb`, `512` → `512b`."""
    parse_size(text)
    match = _SIZE.fullmatch(text.strip())
    number, symbol = (match.group(1), match.group(2).strip().lower()) if match else ("0", "")
    unit = symbol[:1] or "b"
    return f"{number}b" if unit == "b" else f"{number}{unit}b"


def _defaults() -> Tables:
    cpus = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "build": {"cpus": 2, "memory": "2048mb", "rosetta": True},
        "container": {"cpus": 4, "memory": "1gb"},
        "dns": {},
        "kernel": {},
        "machine": {
            "cpus": max(cpus // 2, 4),
            "homeMount": "rw",
            "memory": f"{max(memory // 2 // 1024**3, 1)}gb",
            "virtualization": False,
        },
        "network": {},
        "registry": {"domain": "docker.io"},
        "vminit": {},
    }


def is_outdated(roots: Roots) -> bool:
    """Whether the user's file is not what the copy in the app root was made of. Raises ContainerError."""
    return _read(roots.config) != _read(_copy(roots))


def _copy(roots: Roots) -> str:
    return os.path.join(roots.app, "config", "config.toml")


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise internal(f"failed to load configuration from '{path}': {os_reason(error)}") from error


def _parse(path: str) -> dict[str, Any]:
    data = _read(path)
    return {} if data is None else _decode(data, path)


def _decode(data: bytes, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        message = f"failed to decode configuration: {path}: {error}"
        raise ContainerError(ErrorCode.INVALID_ARGUMENT, message) from error


def _overlay(tables: Tables, upper: Tables) -> None:
    for section, values in upper.items():
        target = tables.setdefault(section, {})
        for key, value in values.items():
            if section == "plugin" and key in target:
                value = {**target[key], **value}
            target[key] = value


def _checked(data: dict[str, Any], path: str) -> Tables:
    """The known sections and keys of a parsed file, sizes normalised."""
    tables: Tables = {}
    for section, keys in _KEYS.items():
        if section not in data:
            continue
        values = _expect(data[section], dict, path, section, "a table")
        checks = ((key, check) for key, check in keys.items() if key in values)
        tables[section] = {key: check(values[key], path, f"{section}.{key}") for key, check in checks}
    if "plugin" in data:
        plugins = _expect(data["plugin"], dict, path, "plugin", "a table")
        tables["plugin"] = {
            name: _expect(value, dict, path, f"plugin.{name}", "a table") for name, value in plugins.items()
        }
    kernel = tables.get("kernel", {})
    if "url" in kernel and "digest" not in kernel:
        text = "kernel.digest is required when kernel.url is not the default URL"
        raise invalid_argument(f"failed to decode configuration: {path}: {text}")
    return tables


def _expect(value: Any, kind: type, path: str, key: str, wanted: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _bad(path, key, wanted, value)
    return value


def _bad(path: str, key: str, wanted: str, value: Any) -> ContainerError:
    return invalid_argument(f"failed to decode configuration: {path}: {key}: expected {wanted}, found {_toml(value)}")


def _toml(value: Any) -> str:
    """A value as TOML writes it, near enough to be recognised: `true`, `5`, `"x"`."""
    import json

    return json.dumps(value, default=str)


Check = Callable[[Any, str, str], Any]


def _string(value: Any, path: str, key: str) -> Any:
    return _expect(value, str, path, key, "a string")


def _boolean(value: Any, path: str, key: str) -> Any:
    return _expect(value, bool, path, key, "a boolean")


def _cpus(value: Any, path: str, key: str) -> Any:
    if _expect(value, int, path, key, "an integer") < 1:
        raise _bad(path, key, "an integer of at least 1", value)
    return value


def _size(value: Any, path: str, key: str) -> Any:
    wanted = "a size such as '1gb'"
    text = _expect(value, str, path, key, wanted)
    try:
        return _normal_size(text)
    except ContainerError:
        raise _bad(path, key, wanted, value) from None


def _home_mount(value: Any, path: str, key: str) -> Any:
    if value not in ("ro", "rw", "none"):
        raise _bad(path, key, "'ro', 'rw' or 'none'", value)
    return value


def _network(version: int) -> Check:
    def check(value: Any, path: str, key: str) -> Any:
        import ipaddress

        wanted = f"an IPv{version} CIDR"
        try:
            network = ipaddress.ip_network(_expect(value, str, path, key, wanted), strict=False)
        except ValueError:
            raise _bad(path, key, wanted, value) from None
        if network.version != version:
            raise _bad(path, key, wanted, value)
        return str(network)

    return check


def _hosts(value: Any, path: str, key: str) -> Any:
    from container import registryconfig

    wrong = registryconfig.problem(value)
    if wrong is not None:
        raise invalid_argument(f"failed to decode configuration: {path}: {key}: {wrong}")
    return value


_KEYS: dict[str, dict[str, Check]] = {
    "build": {"cpus": _cpus, "image": _string, "memory": _size, "rosetta": _boolean},
    "container": {"cpus": _cpus, "inotify": _boolean, "memory": _size},
    "dns": {"domain": _string},
    "kernel": {"binaryPath": _string, "digest": _string, "url": _string},
    "machine": {
        "cpus": _cpus,
        "homeMount": _home_mount,
        "kernelPath": _string,
        "memory": _size,
        "virtualization": _boolean,
    },
    "network": {"subnet": _network(4), "subnetv6": _network(6)},
    "registry": {"domain": _string, "hosts": _hosts},
    "vminit": {"image": _string},
}
