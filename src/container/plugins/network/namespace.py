"""A network's namespace: made once, found again by a helper that comes back, removed at the end."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from container.errors import internal, os_reason
from container.linux import netns
from container.linux.daemon import Daemon
from container.linux.netns import Namespace
from container.model.network import NetworkMode
from container.plugins.network.plan import BRIDGE, Plan
from container.plugins.network.state import ProcessRecord

Record = Callable[[ProcessRecord], None]


class NetworkNamespace:
    """A namespace with its bridge, and the process that holds it. Closing lets go of both; `remove` ends them."""

    def __init__(self, holder: Daemon, namespace: Namespace) -> None:
        self.holder = holder
        self.namespace = namespace

    @classmethod
    async def create(cls, plan: Plan, record: Record) -> "NetworkNamespace":
        """Make it; `record` is called when it exists, and when that fails it is gone again. Raises ContainerError."""
        addresses = [f"{plan.ipv4_gateway}/{plan.ipv4.prefixlen}"]
        if plan.ipv6 is not None:
            addresses.append(f"{plan.ipv6_gateway}/{plan.ipv6.prefixlen}")
        made = netns.create(
            bridge=BRIDGE, mac=plan.bridge_mac, addresses=addresses, sysctls=_sysctls(plan), name=plan.id
        )
        holder = await _recorded(made, record)
        return cls(holder, _open(holder.pid))

    @classmethod
    def adopt(cls, record: ProcessRecord) -> "NetworkNamespace | None":
        """The one that an earlier helper made, None when its holder is gone."""
        holder = Daemon.find(record.pid, record.start_time)
        return None if holder is None else cls(holder, _open(holder.pid))

    async def keep_held(self, plan: Plan, record: Record) -> None:
        """Replace the holder whenever it ends, until cancelled. Raises ContainerError."""
        while True:
            await self.holder.wait()
            self.holder.close()
            self.holder = await _recorded(netns.hold(self.namespace, name=plan.id), record)

    async def remove(self) -> None:
        """End the holder, and with it the namespace once no tap is open any more."""
        await self.holder.stop()
        self.close()

    def close(self) -> None:
        """Let go; the namespace stays."""
        self.namespace.close()
        self.holder.close()


async def _recorded(made: AbstractAsyncContextManager[Daemon], record: Record) -> Daemon:
    async with made as holder:
        record(ProcessRecord(holder.pid, holder.start_time))
    return holder


def _open(pid: int) -> Namespace:
    try:
        return Namespace.of(pid)
    except OSError as error:
        raise internal(f"cannot open the network's namespace /proc/{pid}/ns/net: {os_reason(error)}") from error


def _sysctls(plan: Plan) -> list[str]:
    routed = plan.mode is NetworkMode.NAT
    settings = [f"net/ipv4/ip_forward={int(routed)}"]
    if plan.ipv6 is not None:
        settings += [
            f"net/ipv6/conf/{BRIDGE}/disable_ipv6=0",
            f"net/ipv6/conf/{BRIDGE}/accept_ra=0",  # no container makes itself the router
            f"net/ipv6/conf/{BRIDGE}/accept_dad=0",  # the gateway's address is usable at once
        ]
        if routed:
            # The uplink takes its address from a router's advertisement, and nobody else is there who could have it.
            uplink = ["net/ipv6/conf/default/accept_ra=2", "net/ipv6/conf/default/accept_dad=0"]
            settings += ["net/ipv6/conf/all/forwarding=1", *uplink]
    return settings
