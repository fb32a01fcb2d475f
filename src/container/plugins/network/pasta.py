"""The other uplink of an ordinary user: pasta(1), which opens a socket of the host for each connection.

Not for root: it gives up root's identity, and with it the access to a namespace of root's, before it enters that. So
does Debian 12's with --runas 0 and --netns-only.
"""

import os
import tempfile
from ipaddress import IPv4Network, IPv6Network

from container.errors import ContainerError, ErrorCode, internal
from container.linux import native
from container.linux.daemon import Daemon
from container.linux.netns import Namespace
from container.plugins.network.firewall import WayOut
from container.plugins.network.plan import UPLINK, Plan
from container.plugins.network.slirp import host_has_ipv6_route, stop_strays
from container.plugins.network.state import ProcessRecord, UplinkRecord
from container.plugins.network.uplink import free_subnet

PROGRAM = "pasta"
_IPV6_SUBNET = IPv6Network("fdc0:6e74:6172::/64")


class Pasta:
    """Runs pasta, which goes to the background by itself when it is ready."""

    kind = PROGRAM

    def __init__(self, plan: Plan, host_loopback: bool) -> None:
        self._plan = plan
        self._host_loopback = host_loopback
        self._subnet = free_subnet(plan)
        self._process: Daemon | None = None

    @property
    def way(self) -> WayOut:
        """See `Uplink.way`. Its gateway's address is the host's loopback (pasta(1), --no-map-gw)."""
        host = (self._subnet.network_address + 2,) if self._host_loopback else ()
        return WayOut(closed=(self._subnet, _IPV6_SUBNET), host=host)

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """See `Uplink.start`."""
        if os.geteuid() == 0:
            text = f"network {self._plan.id} has no way out: {PROGRAM} cannot enter a network of root's; "
            text += "create it with --option uplink=slirp4netns or veth"
            raise ContainerError(ErrorCode.UNSUPPORTED, text)
        if UPLINK in await namespace.links():
            await stop_strays(PROGRAM, holder)
        try:
            with tempfile.TemporaryDirectory(prefix="container-pasta-") as directory:
                pid_file = os.path.join(directory, "pid")
                await native.run_program(PROGRAM, *self._arguments(holder), "--pid", pid_file)
                pid = _read_number(pid_file)
        except (ContainerError, OSError, ValueError) as error:
            cause = error if isinstance(error, ContainerError) else internal(str(error))
            text = f"network {self._plan.id} has no way out: {PROGRAM} (package passt) failed"
            raise ContainerError(cause.code, text, cause) from error
        self._process = Daemon.find(pid)
        if self._process is None:
            raise internal(f"network {self._plan.id} has no way out: {PROGRAM} ended at once")
        record = ProcessRecord(self._process.pid, self._process.start_time)
        return UplinkRecord(self.kind, record, str(self._subnet), self._host_loopback)

    def _arguments(self, holder: int) -> list[str]:
        subnet, arguments = self._subnet, ["--quiet", "--config-net", "--ns-ifname", UPLINK]
        for option in ("--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"):
            arguments += [option, "none"]
        arguments += ["--no-dhcp", "--no-dhcpv6", "--no-ra"]
        arguments += ["--address", str(subnet[100]), "--netmask", str(subnet.netmask), "--gateway", str(subnet[2])]
        if self._plan.ipv6 is not None and host_has_ipv6_route():
            arguments += ["--address", str(_IPV6_SUBNET[2]), "--gateway", str(_IPV6_SUBNET[1])]
        else:
            arguments.append("--ipv4-only")
        if not self._host_loopback:
            arguments.append("--no-map-gw")
        return [*arguments, "--userns", f"/proc/{holder}/ns/user", "--netns", f"/proc/{holder}/ns/net"]

    def adopt(self, record: UplinkRecord) -> bool:
        """See `Uplink.adopt`."""
        fits = record.kind == self.kind and record.host_loopback == self._host_loopback
        if fits and record.process is not None and record.subnet is not None:
            self._subnet = IPv4Network(record.subnet)
            self._process = Daemon.find(record.process.pid, record.process.start_time)
        return self._process is not None

    async def wait(self) -> None:
        """See `Uplink.wait`."""
        assert self._process is not None
        await self._process.wait()
        self.close()

    async def stop(self) -> None:
        """See `Uplink.stop`."""
        if self._process is not None:
            await self._process.stop()
            self.close()

    def close(self) -> None:
        """See `Uplink.close`."""
        if self._process is not None:
            self._process.close()
            self._process = None


def _read_number(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())
