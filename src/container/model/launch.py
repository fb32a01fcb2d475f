"""What a runtime helper needs to know to boot one container."""

from dataclasses import dataclass, field

from container.model.container import ContainerConfiguration
from container.model.image import Rootfs
from container.model.system import Accelerator, Kernel


@dataclass(frozen=True)
class NetworkService:
    """Where the helper of one of the container's networks listens."""

    network: str
    socket: str


@dataclass(frozen=True)
class Launch:
    """Everything that the API server decided about one start of a container."""

    configuration: ContainerConfiguration
    rootfs: Rootfs
    kernel: Kernel
    accelerator: Accelerator
    networks: list[NetworkService] = field(default_factory=list)
    ssh_socket: str | None = None  # of the agent that `--ssh` forwards, as whoever starts the container has it
