"""What one start means for the virtual machine: pure functions of the launch and of what was made for it."""

from collections.abc import Sequence

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model.container import ContainerConfiguration
from container.model.launch import Launch
from container.vm.spec import Disk, Nic, Share, VMSpec

IMAGE, UPPER = "image", "upper"  # serials of the disks
FIRST_USE_DEADLINE = 300.0  # seconds, times the accelerator's `speed`, in which volumes are filled from the image
MEMORY_OVERHEAD = 128 << 20  # bytes for the guest's kernel and agent, on top of what the container gets


def check(configuration: ContainerConfiguration) -> None:
    """Refuse what this runtime cannot do, before anything is made. Raises ContainerError(unsupported)."""
    if configuration.virtualization:
        _refuse("nested virtualization")
    if configuration.published_ports and not configuration.networks:
        raise invalid_argument("cannot publish ports of a container that has no network; give it one with --network")


def _refuse(what: str) -> None:
    raise ContainerError(ErrorCode.UNSUPPORTED, f"{what}: not supported by this version of the runtime")


def machine(
    launch: Launch,
    initramfs: str,
    upper: str,
    nics: Sequence[Nic],
    host_cpus: int,
    volumes: Sequence[Disk] = (),
    shares: Sequence[Share] = (),
) -> VMSpec:
    """The virtual machine: MEMORY_OVERHEAD more memory than the container gets, and its CPUs.

    More CPUs than the host has would only wait for each other: a boot takes a quarter longer with four on two.
    """
    configuration = launch.configuration
    return VMSpec(
        name=configuration.id,
        architecture=launch.kernel.architecture,
        accelerator=launch.accelerator,
        kernel=launch.kernel.path,
        initramfs=initramfs,
        cpus=min(configuration.resources.cpus, host_cpus),
        memory_in_bytes=configuration.resources.memory_in_bytes + MEMORY_OVERHEAD,
        kernel_arguments=tuple(configuration.kernel_arguments),
        disks=(
            Disk(launch.rootfs.disk, IMAGE, format="vmdk", read_only=True),
            Disk(upper, UPPER, discard=True, volatile=configuration.auto_remove),
            *volumes,
        ),
        nics=tuple(nics),
        shares=tuple(shares),
    )
