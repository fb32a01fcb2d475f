"""The other uplink of an ordinary user: pasta(1), which opens a socket of the host for each connection.

Not for root: it gives up root's identity, and with it the access to a namespace of root's, before it enters that. So
does Debian 12's with --runas 0 and --netns-only.
"""

import os
import tempfile
from ipaddress import IPv6Network

from container.errors import ContainerError, internal
from container.linux import native
from container.linux.daemon import Daemon
from container.linux.netns import Namespace
from container.model.network_options import UplinkKind
from container.plugins.network.plan import UPLINK
from container.plugins.network.state import UplinkRecord
from container.plugins.network.uplink import require
from container.plugins.network.uplink_process import UplinkProcess, host_has_ipv6_route, namespace_path, stop_strays

PROGRAM = "pasta"


class Pasta(UplinkProcess):
    """Runs pasta, which goes to the background by itself when it is ready."""

    kind = PROGRAM
    ipv6_subnet = IPv6Network("fdc0:6e74:6172::/64")

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """See `Uplink.start`."""
        require(UplinkKind.PASTA, self._plan.id)
        if UPLINK in await namespace.links():
            await stop_strays(PROGRAM, holder)
        try:
            with tempfile.TemporaryDirectory(prefix="container-pasta-") as directory:
                pid_file = os.path.join(directory, "pid")
                await native.run_program(PROGRAM, *self._arguments(holder), "--pid", pid_file)
                pid = _read_number(pid_file)
        except (ContainerError, OSError, ValueError) as error:
            cause = (
                error if isinstance(error, ContainerError) else internal(f"cannot read what {PROGRAM} wrote: {error}")
            )
            text = f"network {self._plan.id} has no way out: {PROGRAM} (package passt) did not make one"
            raise ContainerError(cause.code, text, cause) from error
        self._process = Daemon.find(pid)
        if self._process is None:
            raise internal(f"network {self._plan.id} has no way out: {PROGRAM} ended at once")
        return self._record(self._process)

    def _arguments(self, holder: int) -> list[str]:
        subnet, arguments = self._subnet, ["--quiet", "--config-net", "--ns-ifname", UPLINK]
        for option in ("--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"):
            arguments += [option, "none"]
        arguments += ["--no-dhcp", "--no-dhcpv6", "--no-ra"]
        arguments += ["--address", str(subnet[100]), "--netmask", str(subnet.netmask), "--gateway", str(subnet[2])]
        if self._plan.ipv6 is not None and host_has_ipv6_route():
            arguments += ["--address", str(self.ipv6_subnet[2]), "--gateway", str(self.ipv6_subnet[1])]
        else:
            arguments.append("--ipv4-only")
        if not self._host_loopback:
            arguments.append("--no-map-gw")
        return [*arguments, "--userns", f"/proc/{holder}/ns/user", "--netns", namespace_path(holder)]


def _read_number(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())
