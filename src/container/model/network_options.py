"""What `network create --option KEY=VALUE` can say. Pure."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from container.errors import ContainerError, ErrorCode, invalid_argument

UPLINK, HOST_LOOPBACK = "uplink", "host-loopback"
_BOOLEANS = {"true": True, "false": False}


class UplinkKind(enum.Enum):
    """How a network reaches the outside; `auto` takes what fits this machine and user."""

    AUTO = "auto"
    SLIRP = "slirp4netns"
    PASTA = "pasta"
    VETH = "veth"
    NONE = "none"


# The program that a way out needs, and Debian's package with it.
_PROGRAMS = {
    UplinkKind.SLIRP: ("slirp4netns", "slirp4netns"),
    UplinkKind.PASTA: ("pasta", "passt"),
    UplinkKind.VETH: ("ip", "iproute2"),
}


@dataclass(frozen=True)
class Means:
    """What a user of this machine has for ways out."""

    root: bool
    installed: Callable[[str], bool]  # whether there is a program of this name


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


def choose_uplink(means: Means) -> UplinkKind:
    """What `auto` stands for: one that leaves the host's settings alone (docs/decisions/0005-uplinks.md)."""
    other = not means.root and not means.installed("slirp4netns") and means.installed("pasta")
    return UplinkKind.PASTA if other else UplinkKind.SLIRP


def check_uplink(kind: UplinkKind, means: Means) -> None:
    """Raises ContainerError(unsupported) for a way out that this machine and user cannot have."""
    if kind is UplinkKind.AUTO:
        kind = choose_uplink(means)
    if kind is UplinkKind.PASTA and means.root:
        raise _unsupported("pasta cannot enter a network of root's; take uplink=slirp4netns or uplink=veth")
    if kind is UplinkKind.VETH and not means.root:
        raise _unsupported("veth is for root only; take uplink=slirp4netns or uplink=pasta")
    program, package = _PROGRAMS.get(kind, ("", ""))
    if program and not means.installed(program):
        raise _unsupported(f"the program {program} is not installed; install the package {package}")


def check_network_options(options: NetworkOptions, *, internal: bool, means: Means) -> None:
    """Raises ContainerError for a network that cannot be: unsupported here, or invalidArgument anywhere."""
    kind = options.uplink
    if internal and kind not in (UplinkKind.AUTO, UplinkKind.NONE):
        raise invalid_argument(f"network option {UPLINK}={kind.value} contradicts --internal, which has no way out")
    closed = internal or kind is UplinkKind.NONE
    if closed and options.host_loopback:
        raise invalid_argument(f"network option {HOST_LOOPBACK}=true needs a way out, and this network has none")
    if not closed:
        check_uplink(kind, means)


def _unsupported(text: str) -> ContainerError:
    return ContainerError(ErrorCode.UNSUPPORTED, text)
