"""MAC addresses. Pure."""

import re

from container.errors import invalid_argument

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


def normalise_mac(text: str) -> str:
    """Lower case with colons. Raises ContainerError(invalidArgument), also for one that no interface can have."""
    mac = text.lower().replace("-", ":")
    if not _MAC.fullmatch(mac):
        raise invalid_argument(f"invalid MAC address format {text}, expected format: XX:XX:XX:XX:XX:XX")
    if int(mac[:2], 16) & 1:
        raise invalid_argument(f"invalid MAC address {text}: it is a multicast address")
    if mac == "00:00:00:00:00:00":
        raise invalid_argument(f"invalid MAC address {text}: no interface can have it")
    return mac
