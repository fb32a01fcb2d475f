"""The uplink of anyone: slirp4netns(1), a TCP/IP stack in a process of the host that opens ordinary sockets."""

import asyncio
import contextlib
import os
from ipaddress import IPv4Network, IPv6Network

from container.errors import ContainerError, internal
from container.linux import native
from container.linux.daemon import Daemon, spawn
from container.linux.netns import Namespace, open_lifeline
from container.plugins.network.firewall import WayOut
from container.plugins.network.plan import UPLINK, Plan
from container.plugins.network.state import ProcessRecord, UplinkRecord
from container.plugins.network.uplink import UPLINK_GROUP, free_subnet

READY_TIMEOUT = 10.0
MTU = 65520  # of the interface only: a TCP segment is never larger than the container's own mtu lets it be
_PROGRAM = "slirp4netns"
_IPV6_SUBNET = IPv6Network("fd00::/64")  # it has no option for it


class Slirp:
    """Runs slirp4netns. It ends with the holder of the namespace, not with this process."""

    kind = "slirp4netns"

    def __init__(self, plan: Plan, host_loopback: bool) -> None:
        self._plan = plan
        self._host_loopback = host_loopback
        self._subnet = free_subnet(plan)
        self._process: Daemon | None = None

    @property
    def way(self) -> WayOut:
        """See `Uplink.way`. The second address of its subnet is the host's loopback (slirp4netns(1), --cidr)."""
        host = (self._subnet.network_address + 2,) if self._host_loopback else ()
        return WayOut(closed=(self._subnet, _IPV6_SUBNET), host=host)

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """See `Uplink.start`."""
        try:
            program = native.system_program(_PROGRAM)
        except ContainerError as error:
            text = f"network {self._plan.id} has no way out; install the package {_PROGRAM}"
            raise ContainerError(error.code, text, error) from error
        if UPLINK in await namespace.links():
            await stop_strays(_PROGRAM, holder)
        with contextlib.ExitStack() as stack:
            ready, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, ready)
            with contextlib.ExitStack() as child:
                child.callback(os.close, write_end)
                try:
                    self._process = self._spawn(program, holder, write_end)
                except OSError as error:
                    raise internal(f"cannot start {program}: {error.strerror}") from error
            await self._wait_ready(ready)
        process = ProcessRecord(self._process.pid, self._process.start_time)
        return UplinkRecord(self.kind, process, str(self._subnet), self._host_loopback)

    async def _wait_ready(self, ready: int) -> None:
        """It writes one byte when the interface is configured, and closes the pipe when it ends."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        loop.add_reader(ready, event.set)
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await event.wait()
            if os.read(ready, 1) == b"1":
                return
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(ready)
        await self.stop()
        raise internal(f"network {self._plan.id} has no way out: {_PROGRAM} failed; its words are in the helper's log")

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

    def _spawn(self, program: str, holder: int, ready: int) -> Daemon:
        with contextlib.ExitStack() as stack:
            lifeline = open_lifeline(holder)
            stack.callback(os.close, lifeline)
            arguments = ["--configure", "--disable-dns", f"--cidr={self._subnet}", f"--mtu={MTU}"]
            arguments += [f"--ready-fd={ready}", f"--exit-fd={lifeline}", "--netns-type=path"]
            if not self._host_loopback:
                arguments.append("--disable-host-loopback")
            if os.stat(f"/proc/{holder}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
                arguments.append(f"--userns-path=/proc/{holder}/ns/user")
            if self._plan.ipv6 is not None and not self._plan.ipv6.overlaps(_IPV6_SUBNET) and host_has_ipv6_route():
                arguments.append("--enable-ipv6")
            return _spawn_marked(program, [*arguments, _target(holder), UPLINK], (ready, lifeline))


def _spawn_marked(program: str, arguments: list[str], fds: tuple[int, ...]) -> Daemon:
    """As root, in a group by which the rules of `veth` tell an uplink's connections from others of root's."""
    if os.geteuid() == 0:
        group = [f"--regid={UPLINK_GROUP}", "--clear-groups"]
        return spawn(native.system_program("setpriv"), [*group, program, *arguments], fds, os.environ)
    return spawn(program, arguments, fds, os.environ)


def _target(holder: int) -> str:
    return f"/proc/{holder}/ns/net"


async def stop_strays(program: str, holder: int) -> None:
    """End an uplink that a helper started and had no time to take note of."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        words = _command_line(pid)
        if os.path.basename(words[0]).startswith(program) and _target(holder) in words:
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
