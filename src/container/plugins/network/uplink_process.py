"""What the uplinks that are a program of their own share: which process it is, and how it is found again and ended."""

import os
from ipaddress import IPv4Network, IPv6Network

from container.linux.daemon import Daemon
from container.plugins.network.firewall import WayOut
from container.plugins.network.plan import Plan
from container.plugins.network.state import ProcessRecord, UplinkRecord
from container.plugins.network.uplink import free_subnet


class UplinkProcess:
    """The part of `Uplink` that does not depend on the program; `start` sets `_process`."""

    kind: str
    ipv6_subnet: IPv6Network  # the program's own network behind the interface

    def __init__(self, plan: Plan, host_loopback: bool) -> None:
        self._plan = plan
        self._host_loopback = host_loopback
        self._subnet = free_subnet(plan)
        self._process: Daemon | None = None

    @property
    def way(self) -> WayOut:
        """See `Uplink.way`. The second address of the subnet is the host's loopback."""
        host = (self._subnet.network_address + 2,) if self._host_loopback else ()
        return WayOut(closed=(self._subnet, self.ipv6_subnet), host=host)

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

    def _record(self, process: Daemon) -> UplinkRecord:
        found = ProcessRecord(process.pid, process.start_time)
        return UplinkRecord(self.kind, found, str(self._subnet), self._host_loopback)


def namespace_path(holder: int) -> str:
    """The network namespace of its holder, as a program is told it."""
    return f"/proc/{holder}/ns/net"


async def stop_strays(program: str, holder: int) -> None:
    """End an uplink that a helper started and had no time to take note of."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        words = _command_line(pid)
        if os.path.basename(words[0]).startswith(program) and namespace_path(holder) in words:
            process = Daemon.find(pid)
            if process is not None:
                await process.stop()
                process.close()


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read()).split("\0")
    except OSError:  # it has ended
        return [""]


def host_has_ipv6_route() -> bool:
    """Whether this host has a default route for IPv6 (proc(5), /proc/net/ipv6_route)."""
    try:
        with open("/proc/net/ipv6_route", encoding="ascii") as file:
            routes = [line.split() for line in file]
    except FileNotFoundError:
        return False
    return any(int(target, 16) == 0 == int(length, 16) and rest[-1] != "lo" for target, length, *rest in routes)
