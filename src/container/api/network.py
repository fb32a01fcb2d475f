"""`io.container.Network`: one network, as its helper serves it."""

from collections.abc import AsyncIterator
from typing import TypedDict

from asyncvarlink import FileDescriptor

from container.ipc.interface import Interface, method, stream
from container.model.network import Attachment, AttachmentOptions, NetworkStatus


class Lease(TypedDict):
    """An attachment and the descriptors that go with it.

    `tap` is an open TAP (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR) for QEMU's `-netdev tap,fd=`. `netns`, and `userns` where
    the network lives in a user namespace, lead into the network, for published ports.
    """

    attachment: Attachment
    tap: FileDescriptor
    netns: FileDescriptor
    userns: FileDescriptor | None


class Network(Interface, name="io.container.Network"):
    """Served on `paths.network_service(plugin, network)`."""

    @method("status")
    async def Status(self) -> NetworkStatus:
        """The subnets in force."""

    @stream("lease")
    def Attach(self, *, container: str, options: AttachmentOptions) -> AsyncIterator[Lease]:
        """One reply; the address is the container's until the caller hangs up.

        After the helper came back, the same container gets the same address by calling again with its MAC address.
        """

    @method("attachments")
    async def Attachments(self) -> dict[str, Attachment]:
        """Attachments by container id."""
