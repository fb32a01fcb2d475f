"""What `network create --option KEY=VALUE` can say. Pure."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from container.errors import invalid_argument

UPLINK, HOST_LOOPBACK = "uplink", "host-loopback"
_BOOLEANS = {"true": True, "false": False}


class UplinkKind(enum.Enum):
    """How a network reaches the outside; `auto` takes what fits this machine and user."""

    AUTO = "auto"
    SLIRP = "slirp4netns"
    PASTA = "pasta"
    VETH = "veth"
    NONE = "none"


@dataclass(frozen=True)
class NetworkOptions:
    """The options of a network; `host_loopback`: containers reach what listens on the host's loopback."""

    uplink: UplinkKind = UplinkKind.AUTO
    host_loopback: bool = False


def parse_network_options(options: Mapping[str, str]) -> NetworkOptions:
    """Raises ContainerError(invalidArgument) for an unknown key or a value that it does not take."""
    for key in options:
        if key not in (UPLINK, HOST_LOOPBACK):
            raise invalid_argument(f"unknown network option '{key}'. Available options: {HOST_LOOPBACK}, {UPLINK}")
    uplink = options.get(UPLINK, UplinkKind.AUTO.value)
    loopback = options.get(HOST_LOOPBACK, "false").lower()
    try:
        kind = UplinkKind(uplink)
    except ValueError as error:
        kinds = ", ".join(kind.value for kind in UplinkKind)
        raise invalid_argument(f"invalid network option uplink={uplink}: must be one of {kinds}") from error
    if loopback not in _BOOLEANS:
        raise invalid_argument(f"invalid network option {HOST_LOOPBACK}={loopback}: must be true or false")
    return NetworkOptions(kind, _BOOLEANS[loopback])
