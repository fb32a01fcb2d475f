"""The container's attachments: leases of its networks' helpers, held by connections that stay open.

A helper that dies takes its connections with it, not the network: the tap in QEMU goes on. The lease is then asked for
again, with the MAC address that it had, so that the helper that comes back knows of it and gives the same address.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from container.api.network import Lease, Network
from container.errors import ContainerError, ErrorCode, internal, not_found
from container.ipc.client import Client
from container.model.launch import Launch
from container.model.network import Attachment, AttachmentConfiguration

RETRY_FIRST, RETRY_LAST = 0.1, 5.0  # seconds between two attempts to get a lost lease again
MAC_PREFIXES = (0xF2, 0xF6, 0xFA, 0xFE)  # locally administered, unicast (contract 5)

_log = logging.getLogger(__name__)


class Attached:
    """One attachment. Descriptors are valid until the context of `attach` is left."""

    def __init__(self, attachment: Attachment, lease: Lease) -> None:
        self.attachment = attachment
        self._lease = lease

    @property
    def tap(self) -> int:
        """The TAP for QEMU."""
        return self._lease["tap"].fileno()

    @property
    def netns(self) -> int:
        """The network's namespace."""
        return self._lease["netns"].fileno()

    @property
    def userns(self) -> int | None:
        """The user namespace that owns it, if it is not the host's."""
        userns = self._lease["userns"]
        return None if userns is None else userns.fileno()


@contextlib.asynccontextmanager
async def attach(launch: Launch, group: asyncio.TaskGroup) -> AsyncIterator[Callable[[], Awaitable[list[Attached]]]]:
    """Ask every network of the configuration for an attachment; the leases end with the context.

    Yields at once what waits for the answers, in the configuration's order, and raises ContainerError when a network's
    helper refuses. `group` runs what keeps the leases.
    """
    sockets = {service.network: service.socket for service in launch.networks}
    keepers = [
        _Keeper(launch.configuration.id, wanted, sockets.get(wanted.network))
        for wanted in launch.configuration.networks
    ]
    tasks = [group.create_task(keeper.keep()) for keeper in keepers]

    async def answers() -> list[Attached]:
        return [await keeper.attached() for keeper in keepers]

    try:
        yield answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def random_mac() -> str:
    """A fresh MAC address, `f2:…`, as the contract has it."""
    octets = bytearray(os.urandom(6))
    octets[0] = MAC_PREFIXES[octets[0] % len(MAC_PREFIXES)]
    return octets.hex(":")


class _Keeper:
    """Holds one lease: gets it, notices that it is lost, gets it again."""

    def __init__(self, container: str, wanted: AttachmentConfiguration, socket: str | None) -> None:
        self._container = container
        self._network = wanted.network
        self._options = replace(wanted.options, mac_address=wanted.options.mac_address or random_mac())
        self._socket = socket
        self._answered = asyncio.Event()
        self._first: Attached | None = None
        self._error: ContainerError | None = None

    async def attached(self) -> Attached:
        """The first lease. Raises why there is none."""
        await self._answered.wait()
        if self._first is None:
            raise self._error or internal(
                f"network {self._network} gave no address; `container system logs` may say why"
            )
        return self._first

    async def keep(self) -> None:
        """Hold the lease until cancelled; returns at once when the first attempt fails."""
        owned: list[Lease] = []
        self._delay = RETRY_FIRST
        try:
            while True:
                error = await self._hold(owned)
                if self._first is None:
                    self._error = error
                    return
                _log.warning("%s: lost the lease of network %s: %s", self._container, self._network, error)
                await asyncio.sleep(self._delay)
                self._delay = min(2 * self._delay, RETRY_LAST)
        finally:
            self._answered.set()
            for lease in owned:
                _release(lease)

    async def _hold(self, owned: list[Lease]) -> ContainerError:
        """Ask for the lease and keep the connection; returns why it ended."""
        try:
            if self._socket is None:
                raise not_found(f"network {self._network} not found")
            stream = Client(self._socket).stream(Network.Attach, container=self._container, options=self._options)
            async with stream as leases:
                async for lease in leases:
                    self._delay = RETRY_FIRST
                    self._take(lease, owned)
        except ContainerError as error:
            return error
        return ContainerError(ErrorCode.INTERRUPTED, f"the helper of network {self._network} ended the lease")

    def _take(self, lease: Lease, owned: list[Lease]) -> None:
        attachment = lease["attachment"]
        if self._first is None:
            self._options = replace(self._options, mac_address=attachment.mac_address or self._options.mac_address)
            self._first = Attached(replace(attachment, mac_address=self._options.mac_address), lease)
            owned.append(lease)
            self._answered.set()
            return
        _release(lease)  # the machine keeps the descriptors that it has
        if attachment.ipv4_address == self._first.attachment.ipv4_address:
            _log.info("%s: has its lease of network %s again", self._container, self._network)
        else:
            _log.error("%s: network %s gave %s instead", self._container, self._network, attachment.ipv4_address)


def _release(lease: Lease) -> None:
    for descriptor in (lease["tap"], lease["netns"], lease["userns"]):
        if descriptor is not None:
            descriptor.close()
