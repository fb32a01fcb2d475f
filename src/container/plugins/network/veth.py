"""The uplink of root: a veth(4) pair to the host, which forwards and masquerades. Fast, but the host must agree.

It sets net.ipv4.ip_forward for the whole host, and relies on the host's own firewall to let forwarded packets pass: so
it is only taken when it is asked for. IPv4 only.

Root's processes on the host reach containers by their addresses; other users' do not, for among them may be the
uplinks of other networks, through which containers could reach these.
"""

import asyncio
import logging
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from container.errors import ContainerError, internal
from container.linux import native
from container.linux.netns import Namespace
from container.log import fields
from container.plugins.network.firewall import WayOut
from container.plugins.network.plan import UPLINK, Plan
from container.plugins.network.state import UplinkRecord
from container.plugins.network.uplink import UPLINK_GROUP

_log = logging.getLogger(__name__)
_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_LINKS = IPv4Network("198.18.0.0/15")  # RFC 2544: not routed; each network takes four addresses


class Veth:
    """Sets up the pair, and a table of the host's nftables that carries its name; both go with `stop`."""

    kind = "veth"

    def __init__(self, plan: Plan, host_loopback: bool) -> None:
        digest = plan.bridge_mac.replace(":", "")[2:]
        self._plan = plan
        self._host_loopback = host_loopback
        self._name = f"ctr{digest}"
        self._link = IPv4Interface((_LINKS.network_address + int(digest, 16) % (1 << 15) * 4 + 1, 30))

    @property
    def way(self) -> WayOut:
        """See `Uplink.way`: the links of all networks are closed."""
        host = (self._link.ip,) if self._host_loopback else ()
        return WayOut(closed=(_LINKS,), host=host, host_may_enter=True)

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """See `Uplink.start`."""
        try:
            await self._start(namespace, holder)
        except ContainerError as error:
            await self.stop()
            text = f"network {self._plan.id} has no way out by veth; it needs root, ip (package iproute2) and nft "
            raise ContainerError(error.code, text + "(package nftables)", error) from error
        return UplinkRecord(self.kind, host_loopback=self._host_loopback)

    async def _start(self, namespace: Namespace, holder: int) -> None:
        inside = self._link.ip + 1
        if _exists(self._name):  # left by a helper that had no time to take note of it
            await native.run_program("ip", "link", "delete", self._name)
        await native.run_program(
            "ip", "link", "add", self._name, "type", "veth", "peer", "name", UPLINK, "netns", str(holder)
        )
        await native.run_program("ip", "address", "add", str(self._link), "dev", self._name)
        await native.run_program("ip", "link", "set", self._name, "up")
        await namespace.run("ip", "address", "add", f"{inside}/30", "dev", UPLINK)
        await namespace.run("ip", "link", "set", UPLINK, "up")
        await namespace.run("ip", "route", "add", "default", "via", str(self._link.ip))
        await native.run_program("ip", "route", "add", str(self._plan.ipv4), "via", str(inside), "dev", self._name)
        await native.run_program("nft", "-f", "-", data=self._ruleset(inside).encode())
        _set(_FORWARD)
        if self._host_loopback:
            _set(f"/proc/sys/net/ipv4/conf/{self._name}/route_localnet")

    def _ruleset(self, inside: IPv4Address) -> str:
        table = f"table ip {self._name}"
        link = self._link.ip
        loopback = f"""
  chain loopback {{
    type nat hook prerouting priority dstnat;
    iifname {self._name} ip daddr {link} dnat to 127.0.0.1
  }}"""
        host = loopback if self._host_loopback else ""
        refused = "" if self._host_loopback else f"\n    iifname {self._name} ip daddr {_LINKS} drop"
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
    iifname {self._name} ct state established,related accept{refused}
    iifname {self._name} ip saddr != {inside} drop
  }}
  chain leaving {{
    type filter hook output priority filter;
    oifname {self._name} ct state new meta skuid != 0 drop
    oifname {self._name} ct state new meta skgid {UPLINK_GROUP} drop
  }}
  chain outbound {{
    type nat hook postrouting priority srcnat;
    ip saddr {inside} oifname != {self._name} masquerade
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
        table = f"table ip {self._name}"
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


def _set(path: str) -> None:
    try:
        with open(path, encoding="ascii") as file:
            enabled = file.read().strip() == "1"
        if not enabled:
            with open(path, "w", encoding="ascii") as file:
                file.write("1")
    except OSError as error:
        raise internal(f"cannot set {path}: {error.strerror}") from error
