"""The names of one network: who is called what, and the server on the gateway that tells."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from container.errors import ContainerError, ErrorCode
from container.linux.netns import Namespace
from container.linux.serve import open_services
from container.model.network import AttachmentOptions
from container.plugins.network.dns.forward import Forwarder
from container.plugins.network.dns.resolvers import Resolvers
from container.plugins.network.dns.server import NameServer
from container.plugins.network.dns.zone import HOST_NAME, Host, Zone
from container.plugins.network.leases import Lease
from container.plugins.network.plan import BRIDGE, Plan

PORT = 53


class Names:
    """Serves inside `async with names.running()`, from the first `serve` on."""

    def __init__(self, plan: Plan, domain: str | None, *, forwards: bool) -> None:
        """`forwards`: names of others are asked for at the host's name servers."""
        self._plan = plan
        self._zone = Zone(plan.ipv4, plan.ipv6, domain, self._gateways())
        forwarder = Forwarder(Resolvers()) if forwards else None
        self._server = NameServer(self._zone, serves=self._is_ours, forwarder=forwarder)
        self._opening = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it, the server works."""
        async with self._server.running():
            yield

    async def serve(self, namespace: Namespace) -> None:
        """Answer on the gateway's addresses unless it does so already. Raises ContainerError."""
        async with self._opening:
            if not self._server.listening:
                addresses = [str(address) for address in self._gateways()]
                opened = await open_services(namespace, device=BRIDGE, addresses=addresses, port=PORT)
                self._server.listen(*opened)

    def update(self, leases: Iterable[Lease]) -> None:
        """The containers that there are now."""
        self._zone.update(_host(lease) for lease in leases)
        self._server.changed()

    def set_host(self, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        """Where containers reach the host; without any, the name of the host is the gateway's."""
        self._zone.set_host(tuple(addresses) or self._gateways())
        self._server.changed()

    def check_free(self, leases: Iterable[Lease], container: str, options: AttachmentOptions) -> None:
        """Raise ContainerError(exists) when another container, or the host, has a name that would be this one's.

        Aliases may be shared: their answer is everyone's address.
        """
        others = [lease for lease in leases if lease.container != container]
        hostnames = {HOST_NAME} | {form for lease in others for form in self._zone.forms(lease.hostname)}
        aliases = {form for lease in others for alias in lease.aliases for form in self._zone.forms(alias)}
        taken = [options.hostname] if not (hostnames | aliases).isdisjoint(self._zone.forms(options.hostname)) else []
        taken += [alias for alias in options.aliases if not hostnames.isdisjoint(self._zone.forms(alias))]
        if taken:
            quoted = ", ".join(f'"{self._zone.forms(name)[0]}."' for name in taken)
            raise ContainerError(ErrorCode.EXISTS, f"hostname(s) already exist: [{quoted}]")

    def _gateways(self) -> tuple[IPv4Address | IPv6Address, ...]:
        plan = self._plan
        return (plan.ipv4_gateway,) if plan.ipv6_gateway is None else (plan.ipv4_gateway, plan.ipv6_gateway)

    def _is_ours(self, text: str) -> bool:
        address = ip_address(text)
        if isinstance(address, IPv4Address):
            return address in self._plan.ipv4
        return address.is_link_local or (self._plan.ipv6 is not None and address in self._plan.ipv6)


def _host(lease: Lease) -> Host:
    return Host(lease.hostname, lease.address, lease.ipv6_address, lease.aliases)
