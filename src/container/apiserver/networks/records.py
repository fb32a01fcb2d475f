"""Records of networks on disk: `networks/<id>/entity.json`."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from container.apiserver.networks import subnets
from container.config import NetworkDefaults
from container.model.network import NetworkConfiguration, NetworkMode, NetworkRequest
from container.model.network_options import UPLINK, UplinkKind
from container.paths import Roots
from container.store.entities import Entities

DEFAULT_NETWORK = "default"
DEFAULT_SUBNET = "192.168.64.0/24"
DEFAULT_PLUGIN = "container-network-bridge"
ROLE_LABEL = "com.apple.container.resource.role"


@dataclass(frozen=True)
class NetworkRecord:
    """A network; the subnets are those it has, its configuration's those that were asked for."""

    configuration: NetworkConfiguration
    ipv4_subnet: str
    ipv6_subnet: str


def entities(roots: Roots) -> Entities[NetworkRecord]:
    """The networks of a system."""
    return Entities(os.path.join(roots.app, "networks"), NetworkRecord, "network")


def default_network(defaults: NetworkDefaults, former: NetworkRecord | None = None) -> NetworkRecord:
    """The built-in network as the configuration wants it; what it does not say stays as it was."""
    configuration = NetworkConfiguration(
        name=DEFAULT_NETWORK,
        creation_date=former.configuration.creation_date if former else _now(),
        mode=NetworkMode.NAT,
        plugin=DEFAULT_PLUGIN,
        ipv4_subnet=defaults.subnet,
        ipv6_subnet=defaults.subnet_v6,
        labels={ROLE_LABEL: "builtin"},
    )
    kept = former.ipv6_subnet if former and former.configuration.ipv6_subnet is None else None
    return NetworkRecord(
        configuration=configuration,
        ipv4_subnet=defaults.subnet or DEFAULT_SUBNET,
        ipv6_subnet=defaults.subnet_v6 or kept or unique_local_subnet(),
    )


def unique_local_subnet() -> str:
    """A fresh IPv6 /64 with a random global id (RFC 4193, section 3.2.2)."""
    import ipaddress

    prefix = b"\xfd" + os.urandom(5) + b"\x00\x01" + bytes(8)
    return f"{ipaddress.IPv6Address(prefix)}/64"


def new_network(
    request: NetworkRequest, others: Iterable[NetworkRecord], reached: Iterable[IPv4Network]
) -> NetworkRecord:
    """The record that a request makes; subnets that it does not name are free ones after the default network's.

    They keep away from `reached`, what the host reaches directly. Raises ContainerError(invalidArgument, exists).
    """
    records = list(others)
    taken_v4 = [IPv4Network(record.ipv4_subnet) for record in records]
    taken_v6 = [IPv6Network(record.ipv6_subnet) for record in records]
    if request.ipv4_subnet is not None:
        asked_v4 = ipv4 = subnets.parse_ipv4(request.ipv4_subnet)
        subnets.check_free(asked_v4, taken_v4)
        if request.options.get(UPLINK) == UplinkKind.VETH.value:
            subnets.check_unreached(asked_v4, reached)
    else:
        ipv4 = subnets.next_ipv4(_first(records, taken_v4, IPv4Network(DEFAULT_SUBNET)), [*taken_v4, *reached])
    if request.ipv6_subnet is not None:
        asked_v6 = ipv6 = subnets.parse_ipv6(request.ipv6_subnet)
        subnets.check_free(asked_v6, taken_v6)
    else:
        ipv6 = subnets.next_ipv6(_first(records, taken_v6, IPv6Network(unique_local_subnet())), taken_v6)
    configuration = NetworkConfiguration(
        name=request.name,
        creation_date=_now(),
        mode=request.mode,
        plugin=request.plugin,
        ipv4_subnet=str(ipv4) if request.ipv4_subnet is not None else None,
        ipv6_subnet=str(ipv6) if request.ipv6_subnet is not None else None,
        labels=dict(request.labels),
        options=dict(request.options),
    )
    return NetworkRecord(configuration, str(ipv4), str(ipv6))


def _first(records: list[NetworkRecord], taken: list[subnets.Subnet], absent: subnets.Subnet) -> subnets.Subnet:
    """The default network's subnet."""
    for record, subnet in zip(records, taken, strict=True):
        if record.configuration.name == DEFAULT_NETWORK:
            return subnet
    return absent


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
