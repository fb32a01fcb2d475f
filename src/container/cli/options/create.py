"""The options of `run` and `create`, and the ContainerRequest that they become (contract 2.1)."""

from __future__ import annotations

import os

from container.cli import logger
from container.cli.options import devices, fetch, labels, mounts, networks, platform, ports, process, security, size
from container.cli.spec import Argument, Option, Values, flag
from container.errors import ContainerError, not_found
from container.model.cpus import MINIMUM_QUOTA, PERIOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RESOURCE, MANAGEMENT = "RESOURCE OPTIONS", "MANAGEMENT OPTIONS"
RUNTIME = "container-runtime-linux"


def _cpu_quota(text: str) -> int:
    """Microseconds of CPU time in 100000 for a decimal number of CPUs."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        raise ValueError("expected a number, as 2 or 1.5")
    quota = int(whole or "0") * PERIOD + int(fraction[:5].ljust(5, "0"))
    if quota < MINIMUM_QUOTA:
        raise ValueError("must be at least 0.01")
    return quota


def _configured(key: str) -> Callable[[], str]:
    """For the help: what the configuration in force gives a container that asks for nothing."""

    def read() -> str:
        from container import config, paths

        try:
            return str(config.load(paths.Roots.from_environment())["container"][key])
        except ContainerError:
            return ""

    return read


def _one(dest: str, names: str, help: str, value: str, **more: Any) -> Option:
    return Option(dest, names, help, value=value, group=MANAGEMENT, **more)


def _many(dest: str, names: str, help: str, value: str, **more: Any) -> Option:
    return Option(dest, names, help, value=value, many=True, group=MANAGEMENT, **more)


def _flag(dest: str, names: str, help: str, **more: Any) -> Option:
    return flag(dest, names, help, group=MANAGEMENT, **more)


RESOURCE_OPTIONS = [
    Option(
        "cpus",
        "-c, --cpus",
        "Number of CPUs, also 1.5",
        value="cpus",
        parse=_cpu_quota,
        unset=_configured("cpus"),
        group=RESOURCE,
    ),
    Option(
        "memory",
        "-m, --memory",
        "Amount of memory (1 MiB steps), with k, m, g, t or p",
        value="memory",
        unset=_configured("memory"),
        group=RESOURCE,
    ),
    Option(
        "storage",
        "--storage",
        "Largest size of what the container changes in its root file system",
        value="storage",
        unset="64g",
        group=RESOURCE,
    ),
]
MANAGEMENT_OPTIONS = [
    _many("add_host", "--add-host", "Add a line to /etc/hosts, name:address or name:host-gateway", "host"),
    *platform.options(MANAGEMENT, os_default="linux"),
    _many("cap_add", "--cap-add", "Add a Linux capability", "cap"),
    _many("cap_drop", "--cap-drop", "Drop a Linux capability", "cap"),
    _one("cidfile", "--cidfile", "Write the container's id to a file", "path"),
    _flag("detach", "-d, --detach", "Leave the container running and print its id"),
    _many("device", "--device", "Add a device of the virtual machine, as /dev/fuse or /dev/net/tun", "device"),
    _many("dns", "--dns", "Address of a name server", "ip"),
    _one("dns_domain", "--dns-domain", "Default DNS domain", "domain"),
    _many("dns_options", "--dns-option", "Resolver option", "option", also="--dns-opt"),
    _many("dns_search", "--dns-search", "DNS search domain", "domain"),
    _one("entrypoint", "--entrypoint", "Program in place of the image's entrypoint", "cmd"),
    _one("hostname", "--hostname", "Host name in the container, also -h <name>", "name", unset="its id", also="-h"),
    _flag("init", "--init", "Run a small init as first process, which forwards signals and reaps"),
    _one("init_image", "--init-image", "Image that the guest boots", "image", hidden=True),
    _one("kernel", "-k, --kernel", "Guest kernel in place of the default", "path"),
    _many("kernel_arguments", "--kernel-arg", "Append an argument to the kernel command line", "arg"),
    _many("label", "-l, --label", "Set a label, key[=value]", "label"),
    _many("masked_path", "--masked-path", "Hide a path (experimental); NONE clears the list", "path"),
    _many("read_only_path", "--read-only-path", "Make a path read-only (experimental); NONE clears the list", "path"),
    _many("mount", "--mount", "Mount, type=<>,source=<>,target=<>,readonly", "mount"),
    _one("name", "--name", "Name of the container, which is its id", "name", unset="a random one"),
    _many(
        "network",
        "--network",
        "Attach to a network, name[,mac=XX:XX:XX:XX:XX:XX][,mtu=N][,ip=A][,ip6=A][,alias=N]",
        "network",
        also="--net",
    ),
    _flag("no_dns", "--no-dns", "Write no /etc/resolv.conf"),
    _many("publish", "-p, --publish", "Publish a port, [host-ip:]host-port:container-port[/protocol]", "spec"),
    _many("publish_socket", "--publish-socket", "Publish a unix socket, host_path:container_path", "spec"),
    _flag("read_only", "--read-only", "Make the root file system read-only"),
    _flag("remove", "--rm, --remove", "Delete the container after its process ended"),
    _flag("rosetta", "--rosetta", "Run programs of foreign architectures by emulation"),
    _one("runtime", "--runtime", "Runtime plugin of the container", "runtime", default=RUNTIME),
    _flag("ssh", "--ssh", "Forward the ssh agent"),
    _one("shm_size", "--shm-size", "Size of /dev/shm", "size", unset="64m"),
    _many("tmpfs", "--tmpfs", "Mount a tmpfs, path[:size=64m,mode=1777,ro,noexec…]", "path"),
    _many("volume", "-v, --volume", "Mount a volume or a path of the host", "volume"),
    _flag("virtualization", "--virtualization", "Allow virtual machines in the container", hidden=True),
]
ARGUMENTS = [
    Argument("image", "image", "The image"),
    Argument(
        "arguments", "arguments", "Arguments of the process in the container", many=True, optional=True, default=[]
    ),
]


def options(progress: list[Option]) -> list[Option]:
    """All options in the order of the help; `progress` is the group that only `run` has."""
    groups = (process.OPTIONS, RESOURCE_OPTIONS, MANAGEMENT_OPTIONS, [fetch.SCHEME], progress, [fetch.DOWNLOADS])
    return [option for group in groups for option in group]


def request(values: Values) -> dict[str, Any]:
    """The ContainerRequest in JSON shape. Raises ContainerError(invalidArgument) with the contract's texts."""
    fetch.check(values)
    found: dict[str, Any] = {
        "image": values.image,
        "process": process.request(values, values.arguments),
        "platform": platform.to_run(values),
        "labels": labels.parse_labels(values.label),
        "mounts": mounts.parse_mounts(values.volume, values.mount, values.tmpfs),
        "publishedPorts": ports.parse_ports(values.publish),
        "publishedSockets": mounts.parse_sockets(values.publish_socket),
        "capAdd": security.parse_capabilities(values.cap_add),
        "capDrop": security.parse_capabilities(values.cap_drop),
        "kernelArguments": values.kernel_arguments,
        "readOnly": values.read_only,
        "useInit": values.init,
        "autoRemove": values.remove,
        "rosetta": values.rosetta,
        "virtualization": values.virtualization,
        "ssh": values.ssh,
        "runtime": values.runtime,
        "scheme": values.scheme,
        "maxConcurrentDownloads": values.downloads,
        "dns": networks.parse_dns(values),
        "extraHosts": networks.parse_hosts(values.add_host),
        "devices": devices.parse_devices(values.device),
    }
    optional = {
        "id": values.name,
        "cpus": None if values.cpus is None else -(-values.cpus // PERIOD),
        "cpuQuota": values.cpus if values.cpus is not None and values.cpus % PERIOD else None,
        "storage": None if values.storage is None else size.parse_size(values.storage),
        "memoryInBytes": None if values.memory is None else size.parse_memory(values.memory),
        "networks": networks.parse_networks(values.network),
        "hostname": networks.parse_hostname(values.hostname),
        "kernel": None if values.kernel is None else _kernel(values.kernel),
        "initImage": values.init_image,
        "shmSize": None if values.shm_size is None else size.parse_size(values.shm_size),
        "maskedPaths": security.parse_paths("--masked-path", values.masked_path, security.MASKED),
        "readonlyPaths": security.parse_paths("--read-only-path", values.read_only_path, security.READ_ONLY),
    }
    found.update((key, value) for key, value in optional.items() if value is not None)
    _compare_with_host(found.get("cpus", 0))
    return found


def _compare_with_host(cpus: int) -> None:
    """Say what becomes of CPUs that the host has not: scripts for larger hosts go on, with what there is."""
    there = os.cpu_count() or cpus
    if cpus > there:
        logger.warning(f"this host has {there} CPUs, so the container gets {there} and not {cpus}")


def _kernel(path: str) -> str:
    absolute = os.path.abspath(path)
    if not os.path.isfile(absolute):
        raise not_found(f"kernel file not found at path {path}; leave out --kernel to use the installed one")
    return absolute
