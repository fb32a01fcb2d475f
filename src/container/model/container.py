"""Containers: what a user asks for, what is recorded, what is seen (contract 3.1)."""

import enum
from dataclasses import dataclass, field

from container.model.image import ImageDescription, Platform
from container.model.mount import Mount
from container.model.network import Attachment, AttachmentConfiguration
from container.model.port import PublishPort, PublishSocket
from container.model.process import ProcessConfiguration, ProcessRequest


class ContainerState(enum.Enum):
    """State as users see it."""

    UNKNOWN = "unknown"
    STOPPED = "stopped"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Resources:
    """CPUs and bytes that a container gets; `cpu_quota` is ours: microseconds of CPU time in 100000, None for all."""

    cpus: int
    memory_in_bytes: int
    storage: int | None = None
    cpu_overhead: int = 1
    cpu_quota: int | None = None


@dataclass(frozen=True)
class DNSConfiguration:
    """Contents of the container's resolv.conf; no nameservers = the gateway of the first network."""

    nameservers: list[str] = field(default_factory=list)
    domain: str | None = None
    search_domains: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Device:
    """A device of the guest's kernel, as `/dev/fuse`, and the absolute path of its node in the container."""

    source: str
    destination: str


@dataclass(frozen=True)
class ContainerRequest:
    """`run` and `create` as the user typed them; the API server merges the image's configuration into it."""

    image: str
    process: ProcessRequest
    id: str | None = None
    platform: Platform | None = None
    cpus: int | None = None
    cpu_quota: int | None = None  # microseconds of CPU time in 100000, None for all of the CPUs
    memory_in_bytes: int | None = None
    storage: int | None = None  # nominal bytes of the writable layer
    labels: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    published_ports: list[PublishPort] = field(default_factory=list)
    published_sockets: list[PublishSocket] = field(default_factory=list)
    hostname: str | None = None  # None = the id up to its first dot
    extra_hosts: list[str] = field(default_factory=list)  # `name:address`, further lines of /etc/hosts
    networks: list[AttachmentConfiguration] | None = None  # None = the default network, [] = none
    dns: DNSConfiguration | None = field(default_factory=DNSConfiguration)  # None = --no-dns
    cap_add: list[str] = field(default_factory=list)
    cap_drop: list[str] = field(default_factory=list)
    kernel: str | None = None
    kernel_arguments: list[str] = field(default_factory=list)
    init_image: str | None = None
    shm_size: int | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    devices: list[Device] = field(default_factory=list)
    read_only: bool = False
    use_init: bool = False
    auto_remove: bool = False
    rosetta: bool = False
    virtualization: bool = False
    ssh: bool = False
    runtime: str = "container-runtime-linux"
    scheme: str = "auto"  # how an image that is not here is fetched
    max_concurrent_downloads: int = 3


@dataclass(frozen=True)
class ContainerConfiguration:
    """The record of a container: everything needed to start it again (contract 3.1, configuration)."""

    id: str
    creation_date: str
    image: ImageDescription
    platform: Platform
    resources: Resources
    init_process: ProcessConfiguration
    runtime_handler: str = "container-runtime-linux"
    mounts: list[Mount] = field(default_factory=list)
    published_ports: list[PublishPort] = field(default_factory=list)
    published_sockets: list[PublishSocket] = field(default_factory=list)
    networks: list[AttachmentConfiguration] = field(default_factory=list)
    dns: DNSConfiguration | None = None
    labels: dict[str, str] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    rosetta: bool = False
    virtualization: bool = False
    ssh: bool = False
    read_only: bool = False
    use_init: bool = False
    cap_add: list[str] = field(default_factory=list)
    cap_drop: list[str] = field(default_factory=list)
    shm_size: int | None = None
    stop_signal: str | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    hostname: str | None = None  # ours: other than the id up to its first dot
    extra_hosts: list[str] = field(default_factory=list)  # ours: `name:address`
    devices: list[Device] = field(default_factory=list)  # ours
    kernel: str | None = None  # ours: a kernel other than the default
    kernel_arguments: list[str] = field(default_factory=list)  # ours
    auto_remove: bool = False  # ours


@dataclass(frozen=True)
class ContainerStatus:
    """`exit_code`, `reason` and `exited_date` are ours: how the last run ended, and when. So are those that follow.

    `unresponsive_since` (ISO 8601): since when the guest of a running container has not answered. `start_attempt`: of a
    start that is under way, when it is not the first.
    """

    state: ContainerState
    networks: list[Attachment] = field(default_factory=list)
    started_date: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    exited_date: str | None = None
    unresponsive_since: str | None = None
    start_attempt: int | None = None


@dataclass(frozen=True)
class ContainerSnapshot:
    """A container as `list` and `inspect` show it."""

    id: str
    configuration: ContainerConfiguration
    status: ContainerStatus
