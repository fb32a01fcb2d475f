"""What the host asks of the agent: plain values, encoded by `model.codec` (camelCase keys)."""

from dataclasses import dataclass, field

from container.model.container import Device
from container.model.mount import Mount


@dataclass(frozen=True)
class RootfsSpec:
    """The container's root: squashfs partitions of one disk below an overlay.

    `image` and `upper` are virtio-blk serials; `partitions` are GPT partition numbers, the lowest layer first. Without
    `upper` what is written goes to memory. `directory` (a path in the guest) replaces image and partitions.
    """

    partitions: list[int] = field(default_factory=list)
    image: str | None = "image"
    upper: str | None = "upper"
    directory: str | None = None


@dataclass(frozen=True)
class VolumeSpec:
    """A disk or share that the agent mounts before the container starts; a Mount of kind `bind` with source `name` puts
    it into the container.

    `name`: lower-case letters and digits. `type`: `block` (source = serial) or `virtiofs` (source = tag). `watched`:
    changes of the share will be replayed (guest/include/replay.h).
    """

    name: str
    type: str
    source: str
    read_only: bool = False
    format: str = "ext4"
    watched: bool = False


@dataclass(frozen=True)
class RouteSpec:
    """`destination` with prefix length (`default` = all); no gateway = on the link."""

    destination: str
    gateway: str | None = None


@dataclass(frozen=True)
class InterfaceSpec:
    """One network interface, renamed and configured; addresses with prefix length, `mtu` in bytes.

    It is found by the MAC address `device`, and has `mac_address` from then on; None: that is the one it has.
    """

    mac_address: str
    name: str
    addresses: list[str]
    routes: list[RouteSpec] = field(default_factory=list)
    mtu: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class FileSpec:
    """A small text file written into the root file system; missing directories are made."""

    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class ContainerSpec:
    """What is around the init process. None in a path list means contract section 5's default list.

    `capabilities`: complete list of names as `CAP_CHOWN`; None means the default 14. `cpu_quota` in microseconds per
    100000; `memory_max` and `shm_size` in bytes. `mounts` kinds: tmpfs, bind (source = name of a VolumeSpec;
    detail: `path` = one file of it, `populate` = fill an empty one from the image), in order, after the standard ones.
    """

    hostname: str
    mounts: list[Mount] = field(default_factory=list)
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    capabilities: list[str] | None = None
    sysctls: dict[str, str] = field(default_factory=dict)
    shm_size: int | None = None
    memory_max: int | None = None
    cpu_quota: int | None = None
    read_only: bool = False
    use_init: bool = False
    no_new_privileges: bool = False
    devices: list[Device] = field(default_factory=list)  # besides the usual ones


@dataclass(frozen=True)
class AgentInfo:
    """What the agent says of itself; `uptime_ms` of the guest's kernel, `started_ms` = uptime when the agent began."""

    version: int
    agent: str
    kernel: str
    uptime_ms: int
    started_ms: int
    boot_id: str


@dataclass(frozen=True)
class Statistics:
    """Resource use of the container since its start: bytes, microseconds, counts."""

    memory_usage_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpu_usage_usec: int | None = None
    network_rx_bytes: int | None = None
    network_tx_bytes: int | None = None
    block_read_bytes: int | None = None
    block_write_bytes: int | None = None
    num_processes: int | None = None
