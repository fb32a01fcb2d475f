"""The uplink of anyone: slirp4netns(1), a TCP/IP stack in a process of the host that opens ordinary sockets."""

import asyncio
import contextlib
import os
from ipaddress import IPv6Network

from container.errors import internal, os_reason
from container.linux import native
from container.linux.daemon import Daemon, spawn
from container.linux.netns import Namespace, open_lifeline
from container.model.network_options import UplinkKind
from container.plugins.network.plan import UPLINK
from container.plugins.network.state import UplinkRecord
from container.plugins.network.uplink import UPLINK_GROUP, require
from container.plugins.network.uplink_process import UplinkProcess, host_has_ipv6_route, namespace_path, stop_strays

READY_TIMEOUT = 10.0
MTU = 65520  # of the interface only: a TCP segment is never larger than the container's own mtu lets it be
_PROGRAM = "slirp4netns"


class Slirp(UplinkProcess):
    """Runs slirp4netns. It ends with the holder of the namespace, not with this process."""

    kind = _PROGRAM
    ipv6_subnet = IPv6Network("fd00::/64")  # it has no option for it

    async def start(self, namespace: Namespace, holder: int) -> UplinkRecord:
        """See `Uplink.start`."""
        require(UplinkKind.SLIRP, self._plan.id)
        if UPLINK in await namespace.links():
            await stop_strays(_PROGRAM, holder)
        with contextlib.ExitStack() as stack:
            ready, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, ready)
            with contextlib.ExitStack() as child:
                child.callback(os.close, write_end)
                try:
                    self._process = self._spawn(holder, write_end)
                except OSError as error:
                    raise internal(f"cannot start {_PROGRAM}: {os_reason(error)}") from error
            await self._wait_ready(ready)
        return self._record(self._process)

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
        raise internal(
            f"network {self._plan.id} has no way out: {_PROGRAM} ended at once; "
            "`container system logs` shows what it said"
        )

    def _spawn(self, holder: int, ready: int) -> Daemon:
        with contextlib.ExitStack() as stack:
            lifeline = open_lifeline(holder)
            stack.callback(os.close, lifeline)
            arguments = ["--configure", "--disable-dns", f"--cidr={self._subnet}", f"--mtu={MTU}"]
            arguments += ["--enable-sandbox", "--enable-seccomp"]  # it takes apart what containers send
            arguments += [f"--ready-fd={ready}", f"--exit-fd={lifeline}", "--netns-type=path"]
            if not self._host_loopback:
                arguments.append("--disable-host-loopback")
            if self._plan.ipv6 is not None and not self._plan.ipv6.overlaps(self.ipv6_subnet) and host_has_ipv6_route():
                arguments.append("--enable-ipv6")
            command = [native.system_program(_PROGRAM), *arguments, namespace_path(holder), UPLINK]
            return _spawn_confined(command, holder, (ready, lifeline))


def _spawn_confined(command: list[str], holder: int, fds: tuple[int, ...]) -> Daemon:
    """As who can make the sandbox: an ordinary user becomes root of the network's user namespace, and nothing more.

    As root, in a group by which the rules of `veth` tell an uplink's connections from others of root's.
    """
    if os.geteuid() == 0:
        program, options = "setpriv", [f"--regid={UPLINK_GROUP}", "--clear-groups"]
    else:
        program, options = "nsenter", [f"--user=/proc/{holder}/ns/user", "--preserve-credentials"]
    return spawn(native.system_program(program), [*options, "--", *command], fds, os.environ)
