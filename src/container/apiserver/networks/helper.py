"""The helpers of networks behind their sockets."""

from container.api.network import Network
from container.ipc.client import Client
from container.model.network import NetworkStatus


class RemoteNetworkHelpers:
    """See NetworkHelpers."""

    async def status(self, socket_path: str, timeout: float) -> NetworkStatus:
        """As `Network.Status`."""
        return await Client(socket_path, timeout=timeout).call(Network.Status)
