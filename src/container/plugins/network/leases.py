"""Who has which address. In memory, no I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from container.errors import ContainerError, ErrorCode, invalid_state
from container.model.network import AttachmentOptions
from container.plugins.network.plan import Plan, random_mac
from container.plugins.network.state import LeaseRecord


@dataclass(eq=False)
class Lease:
    """An address in use. `claims` counts the connections that hold it: 0 only for one from before a restart."""

    container: str
    hostname: str
    address: IPv4Address
    mac_address: str
    mtu: int
    taps: list[str]
    claims: int = 0
    ipv6_address: IPv6Address | None = None
    aliases: tuple[str, ...] = ()

    def record(self) -> LeaseRecord:
        """As it is kept."""
        ipv6 = None if self.ipv6_address is None else str(self.ipv6_address)
        return LeaseRecord(
            self.container,
            self.hostname,
            str(self.address),
            self.mac_address,
            self.mtu,
            self.taps,
            ipv6_address=ipv6,
            aliases=list(self.aliases),
        )


class LeaseTable:
    """The leases of one network."""

    def __init__(
        self, plan: Plan, records: Iterable[LeaseRecord] = (), last_address: str | None = None, last_tap: int = 0
    ) -> None:
        self._plan = plan
        self._leases = [_restored(item, plan) for item in records]
        self.last_address = IPv4Address(last_address) if last_address else plan.ipv4_gateway
        self.last_tap = last_tap

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases)

    @property
    def has_unclaimed(self) -> bool:
        """Whether a lease from before a restart waits for its container to come back."""
        return any(lease.claims == 0 for lease in self._leases)

    def drop_dead(self, links: set[str]) -> None:
        """Forget leases from before a restart whose taps are gone: the container ended while no helper was there."""
        self._leases = [lease for lease in self._leases if lease.claims > 0 or not links.isdisjoint(lease.taps)]

    def next_tap(self) -> str:
        """A name that no interface of this network ever had."""
        self.last_tap += 1
        return f"tap{self.last_tap}"

    def claim(
        self, *, container: str, options: AttachmentOptions, mac_address: str | None, mtu: int, tap: str
    ) -> Lease:
        """The container's lease: the one that it has under this MAC address, else a new one.

        Raises ContainerError: exists when another container has the MAC address or an address that is asked for,
        invalidArgument when the network has no such address, invalidState when all are taken.
        """
        for lease in self._leases:
            if lease.mac_address != mac_address:
                continue
            if lease.container != container:
                raise ContainerError(
                    ErrorCode.EXISTS,
                    f"MAC address {mac_address} is already in use on network {self._plan.id} by {lease.container}",
                )
            lease.claims += 1
            lease.taps.append(tap)
            return lease
        mac = mac_address or random_mac()
        ipv6 = self._plan.ipv6_address(mac)
        if options.ipv6_address is not None:
            ipv6 = self._plan.static_ipv6(options.ipv6_address)
        address = None if options.ipv4_address is None else self._plan.static_ipv4(options.ipv4_address)
        self._check_free(address, ipv6)
        address = address or self._free_address()
        lease = Lease(
            container,
            options.hostname,
            address,
            mac,
            mtu,
            [tap],
            claims=1,
            ipv6_address=ipv6,
            aliases=tuple(options.aliases),
        )
        self._leases.append(lease)
        return lease

    def release(self, lease: Lease) -> None:
        """Give one claim back; with the last one the lease ends."""
        lease.claims -= 1
        if lease.claims == 0:
            self._leases.remove(lease)

    def _check_free(self, ipv4: IPv4Address | None, ipv6: IPv6Address | None) -> None:
        for lease in self._leases:
            for address in (ipv4, ipv6):
                if address is not None and address in (lease.address, lease.ipv6_address):
                    raise ContainerError(
                        ErrorCode.EXISTS,
                        f"address {address} is already in use on network {self._plan.id} by {lease.container}",
                    )

    def _free_address(self) -> IPv4Address:
        """The next free one after the last that was given out, from the start again at the end."""
        network = self._plan.ipv4
        taken = {lease.address for lease in self._leases} | {self._plan.ipv4_gateway}
        size = network.num_addresses
        first = int(self.last_address) - int(network.network_address)
        for step in range(1, size + 1):
            candidate = network.network_address + (first + step) % size
            if candidate not in taken and candidate not in (network.network_address, network.broadcast_address):
                self.last_address = candidate
                return candidate
        raise invalid_state(
            f"network {self._plan.id} has no free address left in {network}; "
            "delete containers, or create a network with a larger --subnet"
        )


def _restored(item: LeaseRecord, plan: Plan) -> Lease:
    ipv6 = IPv6Address(item.ipv6_address) if item.ipv6_address else plan.ipv6_address(item.mac_address)
    return Lease(
        item.container,
        item.hostname,
        IPv4Address(item.address),
        item.mac_address,
        item.mtu,
        list(item.taps),
        ipv6_address=ipv6,
        aliases=tuple(item.aliases),
    )
