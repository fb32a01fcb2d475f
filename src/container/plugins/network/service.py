"""One network: its namespace, its uplink, and who is attached to it. Knows no messages."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from container.errors import ContainerError
from container.linux.tap import open_tap
from container.log import fields
from container.model.mac import normalise_mac
from container.model.network import Attachment, AttachmentOptions, NetworkStatus
from container.model.network_options import UplinkKind
from container.plugins.network.firewall import Port, WayOut
from container.plugins.network.guard import Guard
from container.plugins.network.keeper import UplinkKeeper
from container.plugins.network.leases import Lease, LeaseTable
from container.plugins.network.names import Names
from container.plugins.network.namespace import NetworkNamespace
from container.plugins.network.plan import BRIDGE, Plan, check_mtu
from container.plugins.network.state import NetworkState, ProcessRecord, StateFile, UplinkRecord, boot_id
from container.plugins.network.uplink import Uplink, make_uplink

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grant:
    """An attachment, and descriptors that belong to whoever gets it."""

    attachment: Attachment
    tap: int
    netns: int
    userns: int | None


class NetworkService:
    """Serves one network inside `async with service.running()`. `uplink` is None for a network without one.

    Everything comes up in the background: an attachment waits for what it needs, and gets the reason when that fails.
    """

    def __init__(self, plan: Plan, state_file: StateFile, uplink: Uplink | None, domain: str | None = None) -> None:
        """`domain` is the DNS domain of the containers' names."""
        self.plan = plan
        self._file = state_file
        self._uplink = uplink
        self._keeper = None if uplink is None else UplinkKeeper(plan.id, uplink, self._start_uplink)
        self._network: NetworkNamespace | None = None
        self._holder: ProcessRecord | None = None
        self._uplink_record: UplinkRecord | None = None
        self._leases = LeaseTable(plan)
        self._creating = asyncio.Lock()
        self._guard = Guard(plan)
        self._names = Names(plan, domain, forwards=uplink is not None)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take over what an earlier helper left, and bring the rest up.

        Left in order, everything is removed; by an exception, it stays for the next helper.
        """
        adopted = await self._adopt()
        self._names.update(self._leases)
        async with self._names.running(), asyncio.TaskGroup() as group:
            upkeep = [group.create_task(self._keep_namespace())]
            if self._keeper is not None:
                upkeep.append(group.create_task(self._keeper.keep(adopted)))
            try:
                yield
            finally:
                for task in upkeep:
                    task.cancel()
        await self._remove()

    def status(self) -> NetworkStatus:
        """The subnets in force."""
        plan = self.plan
        return NetworkStatus(
            ipv4_subnet=str(plan.ipv4),
            ipv4_gateway=str(plan.ipv4_gateway),
            ipv6_subnet=None if plan.ipv6 is None else str(plan.ipv6),
        )

    async def attachments(self) -> dict[str, Attachment]:
        """Attachments by container id."""
        if self._leases.has_unclaimed:
            await self._drop_dead_leases(await self._namespace())
        return {lease.container: self._attachment(lease) for lease in self._leases}

    @contextlib.asynccontextmanager
    async def attached(self, container: str, options: AttachmentOptions) -> AsyncIterator[Grant]:
        """An attachment that lasts as long as the context. Raises ContainerError, and nothing is left then."""
        mtu = check_mtu(options.mtu)
        mac = None if options.mac_address is None else normalise_mac(options.mac_address)
        network = await self._namespace()
        if self._leases.has_unclaimed:
            await self._drop_dead_leases(network)
        self._names.check_free(self._leases, container, options)
        tap = self._leases.next_tap()
        lease = self._leases.claim(container=container, options=options, mac_address=mac, mtu=mtu, tap=tap)
        with self._held(lease):
            yield await self._grant(network, lease, tap)

    @contextlib.contextmanager
    def _held(self, lease: Lease) -> Iterator[None]:
        extra = fields(network=self.plan.id, container=lease.container, address=lease.address)
        try:
            self._save()
            self._names.update(self._leases)
            _log.info("lease begins", extra=extra)
            yield
        finally:
            self._leases.release(lease)
            self._names.update(self._leases)
            try:
                self._save()
            except ContainerError as error:  # the file has a lease too many, which its taps will disprove
                _log.warning("%s", error, extra=extra)
            _log.info("lease ends", extra=extra)

    async def _grant(self, network: NetworkNamespace, lease: Lease, tap_name: str) -> Grant:
        namespace = network.namespace
        await self._open(network)  # before the tap is there: it never speaks unguarded
        with contextlib.ExitStack() as owned:
            tap = await open_tap(namespace, name=tap_name, bridge=BRIDGE, mtu=lease.mtu)
            owned.callback(os.close, tap)
            if self._keeper is not None:
                await self._keeper.up()
            netns = os.dup(namespace.netns)
            owned.callback(os.close, netns)
            userns = None if namespace.userns is None else os.dup(namespace.userns)
            owned.pop_all()
            return Grant(self._attachment(lease), tap, netns, userns)

    def _attachment(self, lease: Lease) -> Attachment:
        plan = self.plan
        ipv6 = lease.ipv6_address
        return Attachment(
            network=plan.id,
            hostname=lease.hostname,
            ipv4_address=f"{lease.address}/{plan.ipv4.prefixlen}",
            ipv4_gateway=str(plan.ipv4_gateway),
            ipv6_address=None if ipv6 is None or plan.ipv6 is None else f"{ipv6}/{plan.ipv6.prefixlen}",
            ipv6_gateway=None if plan.ipv6_gateway is None else str(plan.ipv6_gateway),
            mac_address=lease.mac_address,
            mtu=lease.mtu,
        )

    async def _drop_dead_leases(self, network: NetworkNamespace) -> None:
        self._leases.drop_dead(await network.namespace.links())

    async def _namespace(self) -> NetworkNamespace:
        """The namespace, made now if it is not there. Raises ContainerError."""
        async with self._creating:
            if self._network is None:
                self._network = await NetworkNamespace.create(self.plan, self._note_holder)
            return self._network

    async def _open(self, network: NetworkNamespace) -> None:
        """Bring the rules and the name server in line with the leases."""
        way = WayOut() if self._uplink is None else self._uplink.way
        await self._guard.establish(network.namespace, way, list(self._ports()))
        await self._names.serve(network.namespace)

    def _ports(self) -> Iterator[Port]:
        for lease in self._leases:
            mac = lease.mac_address
            for tap in lease.taps:
                yield Port(tap, mac, lease.address, lease.ipv6_address, self.plan.link_local_address(mac))

    def _note_holder(self, holder: ProcessRecord) -> None:
        self._holder = holder
        self._save()

    async def _keep_namespace(self) -> None:
        """Make the namespace before anyone asks, and keep it held."""
        network = None
        try:
            network = await self._namespace()
            await self._open(network)
        except ContainerError as error:  # who needs it tries again and gets the reason
            _log.error("the network is not up: %s", error, extra=fields(network=self.plan.id))
        if network is not None:
            await network.keep_held(self.plan, self._note_holder)

    async def _start_uplink(self) -> None:
        assert self._uplink is not None
        network = await self._namespace()
        await self._open(network)
        self._names.set_host(self._uplink.way.host)
        self._uplink_record = await self._uplink.start(network.namespace, network.holder.pid)
        self._save()

    async def _adopt(self) -> bool:
        """Take over from an earlier helper; whether its uplink is up."""
        try:
            state = self._file.load()
        except ContainerError as error:
            _log.error("starting afresh: %s", error, extra=fields(network=self.plan.id))
            return False
        network = None if state is None or state.holder is None else NetworkNamespace.adopt(state.holder)
        if state is None:
            return False
        if network is None:
            await self._end_uplink(state.uplink)
            return False
        if not self._fits(state):
            _log.warning("the network's subnets have changed; making it anew", extra=fields(network=self.plan.id))
            await self._end_uplink(state.uplink)
            await network.remove()
            return False
        self._network, self._holder = network, state.holder
        self._leases = LeaseTable(self.plan, state.leases, state.last_address, state.last_tap)
        await self._drop_dead_leases(network)
        _log.info(
            "took over from an earlier helper", extra=fields(network=self.plan.id, leases=len(list(self._leases)))
        )
        if self._uplink is not None and state.uplink is not None and self._uplink.kind == state.uplink.kind:
            self._uplink_record = state.uplink
            if self._uplink.adopt(state.uplink):
                self._names.set_host(self._uplink.way.host)
                return True
        await self._end_uplink(state.uplink)
        return False

    async def _end_uplink(self, record: UplinkRecord | None) -> None:
        """Take down an earlier helper's uplink, which is not ours."""
        if record is not None:
            uplink = make_uplink(UplinkKind(record.kind), self.plan, host_loopback=record.host_loopback)
            if uplink is not None and uplink.adopt(record):
                await uplink.stop()

    def _fits(self, state: NetworkState) -> bool:
        plan = self.plan
        subnets = (str(plan.ipv4), None if plan.ipv6 is None else str(plan.ipv6))
        return (state.mode, state.ipv4_subnet, state.ipv6_subnet) == (plan.mode.value, *subnets)

    def _save(self) -> None:
        plan, leases = self.plan, self._leases
        self._file.save(
            NetworkState(
                boot_id=boot_id(),
                mode=plan.mode.value,
                ipv4_subnet=str(plan.ipv4),
                ipv6_subnet=None if plan.ipv6 is None else str(plan.ipv6),
                holder=self._holder,
                uplink=self._uplink_record,
                leases=[lease.record() for lease in leases],
                last_address=str(leases.last_address),
                last_tap=leases.last_tap,
            )
        )

    async def _remove(self) -> None:
        if self._uplink is not None:
            await self._uplink.stop()
        if self._network is not None:
            await self._network.remove()
        self._file.remove()
