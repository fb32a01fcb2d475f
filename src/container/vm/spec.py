"""What a virtual machine is made of: complete before QEMU starts, and the only input of `argv`."""

from dataclasses import dataclass, field

from container.model.system import Accelerator

AGENT_PORT = "io.container.agent"


@dataclass(frozen=True)
class Disk:
    """A virtio-blk disk; the guest finds it by `serial` (at most 20 bytes).

    `format` is a QEMU block driver: `raw`, `vmdk` for a descriptor of flat extents, or `null-co` for no file. `discard`
    passes the guest's TRIM on to the file, so that freed blocks become holes. `volatile`: nobody reads the file once
    the machine is gone, so what the guest flushes need not get to the medium.
    """

    path: str
    serial: str
    format: str = "raw"
    read_only: bool = False
    discard: bool = False
    volatile: bool = False


@dataclass(frozen=True)
class Nic:
    """A virtio-net card; the guest finds it by the MAC address `card_address(its position)`.

    `tap` is an open TAP descriptor (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR) of this process. It stays the caller's: QEMU
    gets its own copy when the machine starts, and the caller may close it then.
    """

    tap: int


def card_address(position: int) -> str:
    """The MAC address that a machine gives its network card: by position only, so that machines of one shape are alike.

    The guest gives the interface the one that its network wants.
    """
    return f"52:54:00:00:00:{position:02x}"


@dataclass(frozen=True)
class Share:
    """A directory of the host, behind a vhost-user-fs device; the guest mounts it by `tag` (at most 36 bytes).

    `socket` is a stream socket connected to the file server (`vm.virtiofs`), of this process. It stays the caller's:
    QEMU gets its own copy, and the caller closes its own once the machine has started.
    """

    tag: str
    socket: int


@dataclass(frozen=True)
class VMSpec:
    """A virtual machine. `name` is the container's id; it shows in process lists and errors.

    `kernel` is a `vmlinux` (PVH entry) or bzImage for amd64, an Image for arm64; `kernel_arguments` are appended to the
    ones that `argv` chooses, so they win. `machine` is `q35` (amd64) or `virt` (arm64); None picks by architecture.
    """

    name: str
    architecture: str  # amd64 or arm64
    accelerator: Accelerator
    kernel: str
    initramfs: str
    cpus: int
    memory_in_bytes: int
    kernel_arguments: tuple[str, ...] = ()
    machine: str | None = None
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    shares: tuple[Share, ...] = ()
    firmware_path: tuple[str, ...] = field(default=())  # more directories for QEMU's `-L`


@dataclass(frozen=True)
class Wiring:
    """The descriptors and the file that join one QEMU process to its owner."""

    monitor: int  # stream socket for QMP
    agent: int  # stream socket for the virtio-serial port AGENT_PORT
    boot_log: str  # file that the guest's console is appended to
    state: int | None = None  # file to go on from (`vm.saved`), instead of a boot
