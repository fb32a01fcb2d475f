"""Records of networks on disk: `networks/<id>/entity.json`."""

import os
import time
from dataclasses import dataclass

from container.config import NetworkDefaults
from container.model.network import NetworkConfiguration, NetworkMode
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


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
