"""What one start of a container means for machine and guest: pure functions of the launch and what was made for it."""

from collections.abc import Sequence

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.guest.spec import ContainerSpec, FileSpec, InterfaceSpec, RootfsSpec, RouteSpec
from container.model import capabilities
from container.model.container import ContainerConfiguration
from container.model.launch import Launch
from container.model.network import Attachment
from container.vm.spec import Disk, Nic, VMSpec

IMAGE, UPPER = "image", "upper"  # serials of the disks
MEMORY_OVERHEAD = 128 << 20  # bytes for the guest's kernel and agent, on top of what the container gets
CPU_PERIOD = 100_000  # microseconds, cpu.max of cgroup v2
KERNEL_ARGUMENTS = ("oops=panic", "lsm=lockdown,capability,landlock,yama,apparmor")
SYSCTLS = {"vm.overcommit_memory": "1", "vm.max_map_count": "262144"}


def check(configuration: ContainerConfiguration) -> None:
    """Refuse what this runtime cannot do, before anything is made. Raises ContainerError(unsupported)."""
    for mount in configuration.mounts:
        if mount.kind != "tmpfs":
            _refuse(f"mounting {mount.source} at {mount.destination}: mounts of type {mount.kind}")
    if configuration.published_sockets:
        _refuse("publishing sockets")
    if configuration.ssh:
        _refuse("forwarding the SSH agent")
    if configuration.virtualization:
        _refuse("nested virtualization")
    if configuration.published_ports and not configuration.networks:
        raise invalid_argument("cannot publish ports of a container that has no network")


def _refuse(what: str) -> None:
    raise ContainerError(ErrorCode.UNSUPPORTED, f"{what}: not supported by this version of the runtime")


def machine(launch: Launch, initramfs: str, upper: str, nics: Sequence[Nic]) -> VMSpec:
    """The virtual machine: as many CPUs as the container has, and MEMORY_OVERHEAD more memory."""
    configuration = launch.configuration
    given = {argument.partition("=")[0] for argument in configuration.kernel_arguments}
    defaults = [argument for argument in KERNEL_ARGUMENTS if argument.partition("=")[0] not in given]
    return VMSpec(
        name=configuration.id,
        architecture=launch.kernel.architecture,
        accelerator=launch.accelerator,
        kernel=launch.kernel.path,
        initramfs=initramfs,
        cpus=configuration.resources.cpus,
        memory_in_bytes=configuration.resources.memory_in_bytes + MEMORY_OVERHEAD,
        kernel_arguments=(*defaults, *configuration.kernel_arguments),
        disks=(
            Disk(launch.rootfs.disk, IMAGE, format="vmdk", read_only=True),
            Disk(upper, UPPER, discard=True),
        ),
        nics=tuple(nics),
    )


def rootfs(launch: Launch) -> RootfsSpec:
    """Layers and upper of the container's root, by disk serial and partition."""
    return RootfsSpec(partitions=[layer.partition for layer in launch.rootfs.layers], image=IMAGE, upper=UPPER)


def interfaces(attachments: Sequence[Attachment]) -> list[InterfaceSpec]:
    """`eth0`, `eth1` … in the order of the configuration; the default routes are on the first."""
    result: list[InterfaceSpec] = []
    for number, attachment in enumerate(attachments):
        gateways = [attachment.ipv4_gateway, attachment.ipv6_gateway] if number == 0 else []
        addresses = [attachment.ipv4_address, attachment.ipv6_address]
        result.append(
            InterfaceSpec(
                mac_address=attachment.mac_address or "",
                name=f"eth{number}",
                addresses=[address for address in addresses if address],
                routes=[RouteSpec("default", gateway) for gateway in gateways if gateway],
                mtu=attachment.mtu,
            )
        )
    return result


def host_name(configuration: ContainerConfiguration) -> str:
    """The id up to its first dot (contract 5)."""
    return configuration.id.partition(".")[0]


def files(configuration: ContainerConfiguration, attachments: Sequence[Attachment]) -> list[FileSpec]:
    """`/etc/hostname`, `/etc/hosts`, and `/etc/resolv.conf` unless there is to be no DNS (contract 5)."""
    name = host_name(configuration)
    hosts = ["127.0.0.1 localhost"]
    if attachments:
        hosts.append(f"{attachments[0].ipv4_address.partition('/')[0]} {name}")
    written = [FileSpec("/etc/hostname", f"{name}\n"), FileSpec("/etc/hosts", "\n".join(hosts) + "\n")]
    dns = configuration.dns
    if dns is not None:
        servers = dns.nameservers or [attachment.ipv4_gateway for attachment in attachments[:1]]
        lines = [f"nameserver {server}" for server in servers]
        lines += [f"domain {dns.domain}"] if dns.domain else []
        lines += [f"search {' '.join(dns.search_domains)}"] if dns.search_domains else []
        lines += [f"options {' '.join(dns.options)}"] if dns.options else []
        written.append(FileSpec("/etc/resolv.conf", "".join(f"{line}\n" for line in lines)))
    return written


def container(configuration: ContainerConfiguration) -> ContainerSpec:
    """Namespaces, mounts and limits around the init process."""
    return ContainerSpec(
        hostname=host_name(configuration),
        mounts=list(configuration.mounts),
        masked_paths=configuration.masked_paths,
        readonly_paths=configuration.readonly_paths,
        capabilities=capabilities.granted(configuration.cap_add, configuration.cap_drop),
        sysctls=SYSCTLS | configuration.sysctls,
        shm_size=configuration.shm_size,
        memory_max=configuration.resources.memory_in_bytes,
        cpu_quota=configuration.resources.cpus * CPU_PERIOD,
        read_only=configuration.read_only,
        use_init=configuration.use_init,
    )
