"""Published ports of a running container: the relay from the host to its address on the first network."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from container.linux.ports import BoundPorts
from container.linux.relay import start_relay
from container.plugins.runtime.network import Attached


@contextlib.asynccontextmanager
async def published(ports: BoundPorts, attached: Sequence[Attached], group: asyncio.TaskGroup) -> AsyncIterator[None]:
    """Serve `ports` until the context is left; a relay that fails is replaced. Raises ContainerError."""
    target = attached[0]
    addresses = [(item.attachment.ipv4_address, item.attachment.ipv6_address) for item in attached]
    ipv4, ipv6 = addresses[0]
    relay = start_relay(
        ports,
        ipv4=ipv4.partition("/")[0],
        ipv6=ipv6.partition("/")[0] if ipv6 else None,
        netns=target.netns,
        userns=target.userns,
        near=[address for pair in addresses for address in pair if address is not None],
    )
    async with relay as running:
        keeping = group.create_task(running.keep())
        try:
            yield
        finally:
            keeping.cancel()
