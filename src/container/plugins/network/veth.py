"""The uplink of root: a veth(4) pair to the host, which forwards and masquerades. Fast, but the host must agree.

It sets net.ipv4.ip_forward for the whole host, and relies on the host's own firewall to let forwarded packets pass: so
it is only taken when it is asked for. IPv6 passes where the host forwards it already: to set that is left to the host,
which would no longer listen to router advertisements.

Root's processes on the host reach containers by their addresses; other users' do not, for among them may be the
uplinks of other networks, through which containers could reach these.
"""

import asyncio
import logging
import socket
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from container.errors import ContainerError, internal, invalid_state, os_reason
from container.linux import native, routes
from container.linux.netns import Namespace
from container.log import fields
from container.model.network_options import UplinkKind
from container.plugins.network.firewall import WayOut
from container.plugins.network.plan import UPLINK, Plan
from container.plugins.network.state import UplinkRecord
from container.plugins.network.uplink import UPLINK_GROUP, require

_log = logging.getLogger(__name__)
_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_FORWARD_IPV6 = "/proc/sys/net/ipv6/conf/all/forwarding"
# RFC 2544 and RFC 4193: not routed. Each network takes four addresses, and one /64.
_LINKS, _LINKS_IPV6 = IPv4Network("198.18.0.0/15"), IPv6Network("fd63:7472:7665::/48")


class Veth:
    """Sets up the pair, and a table of the host's nftables that carries its name; both go with `stop`."""

    kind = "veth"

    def __init__(self, plan: Plan, host_loopback: bool) -> None:
        digest = plan.bridge_mac.replace(":", "")[2:]
        self._plan = plan
        self._host_loopback = host_loopback
        self._name = f"ctr{digest}"
        number = int(digest, 16) % (1 << 15)
        self._link = IPv4Interface((_LINKS.network_address + number * 4 + 1, 30))
        self._link_ipv6 = IPv6Interface((_LINKS_IPV6.network_address + (number << 64) + 1, 64))

    @property
    def way(self) -> WayOut:
        """See `Uplink.way`: the links of all networks are closed."""
        host = (self._link.ip,) if self._host_loopback else ()
        return WayOut(closed=(_LINKS, _LINKS_IPV6), host=host, host_may_enter=True)

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """See `Uplink.start`."""
        require(UplinkKind.VETH, self._plan.id)
        try:
            await self._start(namespace, holder)
        except ContainerError as error:
            await self.stop()
            raise ContainerError(error.code, f"network {self._plan.id} has no way out by veth", error) from error
        return UplinkRecord(self.kind, host_loopback=self._host_loopback)

    async def _start(self, namespace: Namespace, holder: int) -> None:
        if _exists(self._name):  # left by a helper that had no time to take note of it
            await native.run_program("ip", "link", "delete", self._name)
        self._check_routes()
        await native.run_program("nft", "-f", "-", data=self._ruleset().encode())
        await native.run_program(
            "ip", "link", "add", self._name, "type", "veth", "peer", "name", UPLINK, "netns", str(holder)
        )
        await native.run_program("ip", "link", "set", self._name, "up")
        await namespace.run("ip", "link", "set", UPLINK, "up")
        await self._connect(namespace, self._link, self._plan.ipv4)
        if self._plan.ipv6 is not None and _is_set(_FORWARD_IPV6):
            await self._connect(namespace, self._link_ipv6, self._plan.ipv6)
        _set(_FORWARD)
        if self._host_loopback:
            _set(f"/proc/sys/net/ipv4/conf/{self._name}/route_localnet")

    def _check_routes(self) -> None:
        """The network's subnet and the link's become routes of the host, which must not lose another one by them."""
        for subnet in (self._plan.ipv4, self._link.network):
            for other in filter(subnet.overlaps, routes.ipv4_subnets()):
                text = f"its subnet {subnet} overlaps {other}, which this host reaches already; "
                raise invalid_state(text + "create it with another name or --subnet")

    async def _connect(
        self, namespace: Namespace, link: IPv4Interface | IPv6Interface, subnet: IPv4Network | IPv6Network
    ) -> None:
        """Addresses for the two ends, a way out for the network and the host's way in."""
        inside = link.ip + 1
        check = () if link.version == 4 else ("nodad",)  # nobody else is there who could have it
        await native.run_program("ip", "address", "add", str(link), "dev", self._name, *check)
        await namespace.run("ip", "address", "add", f"{inside}/{link.network.prefixlen}", "dev", UPLINK, *check)
        await namespace.run("ip", "route", "add", "default", "via", str(link.ip))
        await native.run_program("ip", "route", "add", str(subnet), "via", str(inside), "dev", self._name)

    def _ruleset(self) -> str:
        table = f"table inet {self._name}"
        link, inside, inside_ipv6 = self._link.ip, self._link.ip + 1, self._link_ipv6.ip + 1
        loopback = f"""
  chain loopback {{
    type nat hook prerouting priority dstnat;
    iifname {self._name} ip daddr {link} dnat ip to 127.0.0.1
  }}"""
        host = loopback if self._host_loopback else ""
        refused = "" if self._host_loopback else f"\n    iifname {self._name} ip daddr {_LINKS} drop"
        refused += f"\n    iifname {self._name} ip6 daddr {_LINKS_IPV6} drop"
        return f"""{table}
delete {table}
{table} {{
  chain routed {{
    type filter hook forward priority filter;
    iifname {self._name} accept
    oifname {self._name} ct state established,related accept
    oifname {self._name} drop
  }}
  chain entering {{
    type filter hook input priority filter;
    iifname {self._name} ct state established,related accept
    iifname {self._name} icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept{refused}
    iifname {self._name} ip saddr != {inside} drop
    iifname {self._name} ip6 saddr != {inside_ipv6} drop
  }}
  chain leaving {{
    type filter hook output priority filter;
    oifname {self._name} ct state new meta skuid != 0 drop
    oifname {self._name} ct state new meta skgid {UPLINK_GROUP} drop
  }}
  chain outbound {{
    type nat hook postrouting priority srcnat;
    ip saddr {inside} oifname != {self._name} masquerade
    ip6 saddr {inside_ipv6} oifname != {self._name} masquerade
  }}{host}
}}
"""

    def adopt(self, record: UplinkRecord) -> bool:
        """See `Uplink.adopt`."""
        fits = record.kind == self.kind and record.host_loopback == self._host_loopback
        return fits and _exists(self._name)

    async def wait(self) -> None:
        """See `Uplink.wait`: there is no process that could fail."""
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """See `Uplink.stop`."""
        table = f"table inet {self._name}"
        try:
            await native.run_program("nft", "-f", "-", data=f"{table}\ndelete {table}\n".encode())
            if _exists(self._name):
                await native.run_program("ip", "link", "delete", self._name)
        except ContainerError as error:
            _log.warning("cannot remove the uplink: %s", error, extra=fields(network=self._plan.id, link=self._name))

    def close(self) -> None:
        """See `Uplink.close`."""


def _exists(link: str) -> bool:
    try:
        socket.if_nametoindex(link)
    except OSError:
        return False
    return True


def _is_set(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except FileNotFoundError:  # a kernel without IPv6
        return False


def _set(path: str) -> None:
    try:
        if not _is_set(path):
            with open(path, "w", encoding="ascii") as file:
                file.write("1")
    except OSError as error:
        raise internal(f"cannot set {path}: {os_reason(error)}") from error
