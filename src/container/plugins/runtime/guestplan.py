"""What one start of a container means inside the guest: pure functions of the launch and its attachments."""

from collections.abc import Sequence
from dataclasses import replace

from container.guest.spec import ContainerSpec, FileSpec, InterfaceSpec, RootfsSpec, RouteSpec
from container.model import capabilities
from container.model.container import ContainerConfiguration
from container.model.cpus import PERIOD
from container.model.launch import Launch
from container.model.mount import Mount
from container.model.network import Attachment
from container.model.process import ProcessConfiguration
from container.plugins.runtime.plan import IMAGE, UPPER
from container.plugins.runtime.sockets import SSH_SOCKET, Forward
from container.vm.spec import card_address

HOST_GATEWAY = "host-gateway"
SYSCTLS = {
    "vm.overcommit_memory": "1",
    "vm.max_map_count": "262144",
    # as docker: no privilege for ports below 1024 and for ping, in a network that is the container's alone
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


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
                device=card_address(number),
            )
        )
    return result


def host_name(configuration: ContainerConfiguration) -> str:
    """The one that was asked for, else the id up to its first dot (contract 5)."""
    return configuration.hostname or configuration.id.partition(".")[0]


def files(configuration: ContainerConfiguration, attachments: Sequence[Attachment]) -> list[FileSpec]:
    """`/etc/hostname`, `/etc/hosts`, and `/etc/resolv.conf` unless there is to be no DNS (contract 5)."""
    name = host_name(configuration)
    hosts = ["127.0.0.1 localhost"]
    if attachments:
        hosts.append(f"{attachments[0].ipv4_address.partition('/')[0]} {name}")
    hosts += [_host_line(entry, attachments) for entry in configuration.extra_hosts]
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


def _host_line(entry: str, attachments: Sequence[Attachment]) -> str:
    """A line of /etc/hosts for `name:address`; `host-gateway` is the first network's gateway."""
    name, _, address = entry.partition(":")
    if address == HOST_GATEWAY:
        address = attachments[0].ipv4_gateway if attachments else "127.0.0.1"
    return f"{address} {name}"


def process(launch: Launch, process: ProcessConfiguration) -> ProcessConfiguration:
    """A process of the container; with `--ssh` it is told where the agent is, unless it was told something else."""
    variable = "SSH_AUTH_SOCK="
    forwarded = launch.configuration.ssh and launch.ssh_socket
    if not forwarded or any(entry.startswith(variable) for entry in process.environment):
        return process
    return replace(process, environment=[*process.environment, variable + SSH_SOCKET])


def _mounts(mounts: Sequence[Mount], forwards: Sequence[Forward]) -> list[Mount]:
    """The mounts, with sockets of the host as sockets of the guest."""
    sockets = {item.container_path: Mount("socket", item.listener, item.container_path) for item in forwards}
    own = [sockets.pop(mount.destination, mount) for mount in mounts]
    return [*own, *sockets.values()]


def container(configuration: ContainerConfiguration, forwards: Sequence[Forward] = ()) -> ContainerSpec:
    """Namespaces, mounts and limits around the init process; `forwards` are sockets of the host."""
    return ContainerSpec(
        hostname=host_name(configuration),
        mounts=_mounts(configuration.mounts, forwards),
        masked_paths=configuration.masked_paths,
        readonly_paths=configuration.readonly_paths,
        capabilities=capabilities.granted(configuration.cap_add, configuration.cap_drop),
        sysctls=SYSCTLS | configuration.sysctls,
        shm_size=configuration.shm_size,
        memory_max=configuration.resources.memory_in_bytes,
        cpu_quota=configuration.resources.cpu_quota or configuration.resources.cpus * PERIOD,
        read_only=configuration.read_only,
        use_init=configuration.use_init,
        devices=configuration.devices,
    )
