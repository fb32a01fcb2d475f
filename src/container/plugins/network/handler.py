"""`io.container.Network` on the wire."""

import asyncio
from collections.abc import AsyncIterator

from asyncvarlink import FileDescriptor

from container.api.network import Lease, Network
from container.model.network import Attachment, AttachmentOptions, NetworkStatus
from container.plugins.network.service import NetworkService


class NetworkHandler(Network):
    """Decodes, calls the service, encodes."""

    def __init__(self, service: NetworkService) -> None:
        super().__init__()
        self._service = service

    async def Status(self) -> NetworkStatus:
        return self._service.status()

    async def Attach(self, *, container: str, options: AttachmentOptions) -> AsyncIterator[Lease]:
        async with self._service.attached(container, options) as grant:
            # The server closes them when they are sent: the tap must live as long as its VM, not as this process.
            yield Lease(
                attachment=grant.attachment,
                tap=FileDescriptor(grant.tap, should_close=True),
                netns=FileDescriptor(grant.netns, should_close=True),
                userns=None if grant.userns is None else FileDescriptor(grant.userns, should_close=True),
            )
            await asyncio.get_running_loop().create_future()  # until the caller hangs up, which cancels it

    async def Attachments(self) -> dict[str, Attachment]:
        return await self._service.attachments()
