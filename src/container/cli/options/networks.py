"""`--network name[,mac=…][,mtu=N]` and the DNS options (contract 1.12)."""

from __future__ import annotations

import re

from container.cli.usage import UsageError
from container.errors import invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address
    from typing import Any

    from container.cli.spec import Values

NONE = "none"
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")
MTU = range(1280, 65536)
ADDRESSES = {"ip": (4, "ipv4Address"), "ip6": (6, "ipv6Address")}
PROPERTIES = "mac, mtu, ip, ip6, alias"
_ALIAS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
HOST_GATEWAY = "host-gateway"


def parse_networks(words: list[str]) -> list[dict[str, Any]] | None:
    """Attachments in JSON shape, an empty host name for the server to fill; None when no network was named."""
    if not words:
        return None
    networks = [parse_network(word) for word in words]
    if any(each["network"] == NONE for each in networks):
        if len(networks) > 1:
            raise invalid_argument(
                "no other networks may be created along with network none; leave out one or the others"
            )
        return []
    return networks


def parse_network(word: str) -> dict[str, Any]:
    """One specification."""
    if not word:
        raise invalid_argument("network specification cannot be empty; expected name[,mac=XX:XX:XX:XX:XX:XX][,mtu=N]")
    name, *properties = word.split(",")
    if not name:
        raise invalid_argument(f"network name cannot be empty: {word}; expected name[,mac=XX:XX:XX:XX:XX:XX][,mtu=N]")
    options: dict[str, Any] = {"hostname": ""}
    for text in properties:
        key, equals, value = text.partition("=")
        if not equals:
            raise invalid_argument(
                f"invalid property format '{text}' in network specification '{word}'; expected key=value"
            )
        if key == "mac":
            options["macAddress"] = _mac(value)
        elif key == "mtu":
            options["mtu"] = _mtu(value)
        elif key in ADDRESSES:
            options[ADDRESSES[key][1]] = _address(key, value)
        elif key == "alias":
            options.setdefault("aliases", []).append(_alias(value))
        else:
            raise invalid_argument(f"unknown network property '{key}'. Available properties: {PROPERTIES}")
    return {"network": name, "options": options}


def _mac(text: str) -> str:
    if not text:
        raise invalid_argument("mac address value cannot be empty; expected mac=XX:XX:XX:XX:XX:XX")
    if not _MAC.fullmatch(text):
        raise invalid_argument(f"invalid MAC address format {text}, expected format: XX:XX:XX:XX:XX:XX")
    return text.replace("-", ":").lower()


def _mtu(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) in MTU):
        raise invalid_argument(f"invalid mtu value '{text}': must be between 1280 and 65535")
    return int(text)


def _address(key: str, text: str) -> str:
    version, _ = ADDRESSES[key]
    found = _parse_address(text)
    if found is None or found.version != version:
        raise invalid_argument(f"invalid {key} value '{text}': not an IPv{version} address")
    return str(found)


def _alias(text: str) -> str:
    if not _ALIAS.fullmatch(text):
        raise invalid_argument(f"invalid alias value '{text}': not a host name")
    return text


def parse_hostname(text: str | None) -> str | None:
    """The value of `--hostname`: at most 64 characters, as sethostname(2) takes."""
    if text is not None and not _HOSTNAME.fullmatch(text):
        raise invalid_argument(
            f"invalid hostname '{text}'; expected letters, digits and `-`, labels of at most 63 with dots between them"
        )
    return text


def parse_hosts(words: list[str]) -> list[str]:
    """The values of `--add-host`: `name:address` (or `name=address`), or `name:host-gateway`."""
    found = []
    for word in words:
        equals, colon = word.find("="), word.find(":")
        cut = equals if equals >= 0 and (colon < 0 or equals < colon) else colon
        name, address = word[:cut], word[cut + 1 :].removeprefix("[").removesuffix("]")
        parsed = _parse_address(address) if cut >= 0 else None
        if not _ALIAS.fullmatch(name) or (parsed is None and address != HOST_GATEWAY):
            raise invalid_argument(f"invalid add-host value {word}. Expected: name:address")
        found.append(f"{name}:{parsed or address}")
    return found


def check_dns(values: Values) -> None:
    """`--no-dns` goes with no other DNS option."""
    if values.no_dns and (values.dns or values.dns_domain or values.dns_options or values.dns_search):
        raise UsageError(
            "`--no-dns` cannot be used with DNS configuration flags"
            " (`--dns`, `--dns-domain`, `--dns-option`, `--dns-search`)"
        )


def parse_dns(values: Values) -> dict[str, Any] | None:
    """The DNS configuration in JSON shape; None with `--no-dns`."""
    if values.no_dns:
        return None
    configuration: dict[str, Any] = {
        "nameservers": [_nameserver(word) for word in values.dns],
        "searchDomains": values.dns_search,
        "options": values.dns_options,
    }
    if values.dns_domain is not None:
        configuration["domain"] = values.dns_domain
    return configuration


def _nameserver(text: str) -> str:
    found = _parse_address(text)
    if found is None:
        raise invalid_argument(f"nameserver '{text}' is not a valid IPv4 or IPv6 address")
    return str(found)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    import ipaddress

    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
