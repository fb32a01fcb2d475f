"""What a container's start needs beyond its record: kernel, accelerator, networks."""

from typing import Protocol

from container.apiserver.containers.records import ContainerRecord
from container.errors import invalid_argument
from container.model.container import ContainerRequest
from container.model.launch import Launch, NetworkService
from container.model.network import AttachmentConfiguration
from container.model.system import Accelerator, Kernel


class Machines(Protocol):
    """What virtual machines here run with (the system service)."""

    async def kernel(self, path: str | None) -> Kernel:
        """The kernel at `path`, else the default one. Raises ContainerError(notFound, invalidArgument)."""

    async def accelerator(self, kernel: Kernel) -> Accelerator:
        """The verdict of the probe; waits for it. Raises ContainerError(unsupported) without QEMU."""

    def notice(self) -> str | None:
        """What the user should know of slow machines; once, then None."""

    def delay(self) -> str | None:
        """Why a start takes long now, in a few words; None: no reason is known."""


class NetworkDirectory(Protocol):
    """Which networks there are (the networks service)."""

    async def check(self, attachment: AttachmentConfiguration) -> None:
        """Raises ContainerError: notFound `network X not found`, invalidArgument for an address that it cannot give."""

    async def service(self, network: str) -> NetworkService:
        """Where the helper of a network listens, which is registered by then. Raises ContainerError."""


class Launches:
    """Decides what a runtime helper is told."""

    def __init__(self, machines: Machines, networks: NetworkDirectory) -> None:
        self._machines = machines
        self._networks = networks

    def notice(self) -> str | None:
        """What the caller of a start should be told, once for all starts."""
        return self._machines.notice()

    def delay(self) -> str | None:
        """Why a start takes long now, in a few words, if a reason is known."""
        return self._machines.delay()

    async def check(self, request: ContainerRequest, networks: list[AttachmentConfiguration]) -> None:
        """Refuse at creation what could not start. Raises ContainerError."""
        macs = set()
        for attachment in networks:
            await self._networks.check(attachment)
            mac = attachment.options.mac_address
            if mac is not None and mac in macs:
                raise invalid_argument(f"cannot give two interfaces of a container the same MAC address {mac}")
            macs.add(mac)
        await self._machines.kernel(request.kernel)

    async def launch(self, record: ContainerRecord, ssh_socket: str | None = None) -> Launch:
        """Everything for one start of a container. Raises ContainerError."""
        configuration = record.configuration
        kernel = await self._machines.kernel(configuration.kernel)
        names = dict.fromkeys(attachment.network for attachment in configuration.networks)
        return Launch(
            configuration=configuration,
            rootfs=record.rootfs,
            kernel=kernel,
            accelerator=await self._machines.accelerator(kernel),
            networks=[await self._networks.service(name) for name in names],
            ssh_socket=ssh_socket,
        )
