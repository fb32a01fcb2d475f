"""How a network reaches the outside: one Protocol, one implementation each way."""

import os
from ipaddress import IPv4Network
from typing import Protocol

from container.errors import ContainerError
from container.linux import native, routes
from container.linux.netns import Namespace
from container.model.network_options import Means, UplinkKind, check_uplink, choose_uplink
from container.plugins.network.firewall import WayOut
from container.plugins.network.plan import Plan
from container.plugins.network.state import UplinkRecord

# RFC 5737: never routed, so that the way out hides no real network.
SUBNETS = (IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/24"))
UPLINK_GROUP = 65534  # of root's uplinks that are processes: by it rules tell their connections from others of root's


class Uplink(Protocol):
    """The interface `plan.UPLINK` of a namespace with a default route behind it.

    `holder` is the process that holds the namespace: an uplink that is a process itself ends with it.
    """

    kind: str

    @property
    def way(self) -> WayOut:
        """What of it containers may not reach."""

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """Bring it up; returns when traffic can pass. Raises ContainerError with what to do."""

    def adopt(self, record: UplinkRecord) -> bool:
        """Take over one that an earlier helper started; False when it is gone."""

    async def wait(self) -> None:
        """Return when the uplink has failed. Only while it is up."""

    async def stop(self) -> None:
        """Take it down; fine when it is not up."""

    def close(self) -> None:
        """Let go of it; it stays up."""


def make_uplink(kind: UplinkKind, plan: Plan, *, host_loopback: bool) -> Uplink | None:
    """The uplink of this kind, None for none; `host_loopback`: the host's loopback can be reached through it."""
    if kind is UplinkKind.AUTO:
        kind = choose_uplink(_means())
    if kind is UplinkKind.SLIRP:
        from container.plugins.network.slirp import Slirp

        return Slirp(plan, host_loopback)
    if kind is UplinkKind.PASTA:
        from container.plugins.network.pasta import Pasta

        return Pasta(plan, host_loopback)
    if kind is UplinkKind.VETH:
        from container.plugins.network.veth import Veth

        return Veth(plan, host_loopback)
    return None


def require(kind: UplinkKind, network: str) -> None:
    """Raise ContainerError(unsupported) when this machine and user cannot have such a way out."""
    try:
        check_uplink(kind, _means())
    except ContainerError as error:
        raise ContainerError(error.code, f"network {network} has no way out", error) from error


def _means() -> Means:
    return Means(root=os.geteuid() == 0, installed=native.is_installed)


def free_subnet(plan: Plan) -> IPv4Network:
    """Addresses for between the namespace and what takes its traffic out, which hide neither network nor host."""
    taken = [plan.ipv4, *routes.ipv4_subnets()]
    return next((subnet for subnet in SUBNETS if not any(map(subnet.overlaps, taken))), SUBNETS[0])
