"""The uplink of root: a veth(4) pair to the host, which forwards and masquerades. Fast, but the host must agree.

It sets net.ipv4.ip_forward for the whole host, and relies on the host's own firewall to let forwarded packets pass: so
it is only taken when it is asked for. IPv4 only.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, ip_address

from container.errors import ContainerError, internal
from container.linux import native
from container.linux.netns import Namespace
from container.log import fields
from container.plugins.network.plan import UPLINK, Plan
from container.plugins.network.state import UplinkRecord

_log = logging.getLogger(__name__)
# The second is systemd-resolved's list of real servers, for the first may only name its own address on the loopback.
_RESOLVER_FILES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_LINKS = IPv4Address("198.18.0.0")  # RFC 2544: not routed; each network takes four addresses of the /15


class Veth:
    """Sets up the pair, and a table of the host's nftables that carries its name; both go with `stop`."""

    kind = "veth"

    def __init__(self, plan: Plan) -> None:
        digest = plan.bridge_mac.replace(":", "")[2:]
        self._plan = plan
        self._name = f"ctr{digest}"
        self._link = IPv4Interface((_LINKS + int(digest, 16) % (1 << 15) * 4 + 1, 30))

    @property
    def resolver(self) -> IPv4Address | None:
        """The host's first IPv4 name server that is not on its loopback."""
        return next(_name_servers(), None)

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """See `Uplink.start`."""
        try:
            await self._start(namespace, holder)
        except ContainerError as error:
            await self.stop()
            text = f"network {self._plan.id} has no way out by veth; it needs root, ip (package iproute2) and nft "
            raise ContainerError(error.code, text + "(package nftables)", error) from error
        return UplinkRecord(self.kind)

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
        await native.run_program("nft", "-f", "-", data=self._ruleset(inside).encode())
        _enable_forwarding()

    def _ruleset(self, inside: IPv4Address) -> str:
        table = f"table ip {self._name}"
        return f"""{table}
delete {table}
{table} {{
  chain routed {{
    type filter hook forward priority filter;
    iifname {self._name} accept
    oifname {self._name} ct state established,related accept
    oifname {self._name} drop
  }}
  chain outbound {{
    type nat hook postrouting priority srcnat;
    ip saddr {inside} oifname != {self._name} masquerade
  }}
}}
"""

    def adopt(self, record: UplinkRecord) -> bool:
        """See `Uplink.adopt`."""
        return record.kind == self.kind and _exists(self._name)

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


def _enable_forwarding() -> None:
    try:
        with open(_FORWARD, encoding="ascii") as file:
            enabled = file.read().strip() == "1"
        if not enabled:
            with open(_FORWARD, "w", encoding="ascii") as file:
                file.write("1")
    except OSError as error:
        raise internal(f"cannot set {_FORWARD}: {error.strerror}") from error


def _name_servers() -> Iterator[IPv4Address]:
    for path in _RESOLVER_FILES:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError:
            continue
        for words in lines:
            if len(words) >= 2 and words[0] == "nameserver":
                address = ip_address(words[1].partition("%")[0])
                if isinstance(address, IPv4Address) and not address.is_loopback:
                    yield address
