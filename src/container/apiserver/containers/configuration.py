"""From what a user asked for to the record of a container. Pure functions."""

import os
import time
from dataclasses import replace

from container.apiserver.containers import merge, names, volumes
from container.config import MIB, ContainerDefaults
from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model.container import ContainerConfiguration, ContainerRequest, DNSConfiguration, Resources
from container.model.cpus import MINIMUM_QUOTA, PERIOD
from container.model.image import Rootfs
from container.model.network import AttachmentConfiguration, AttachmentOptions
from container.store import ext4

MINIMUM_MEMORY = 200 * MIB
MINIMUM_STORAGE = 64 * MIB
DEFAULT_NETWORK = "default"
DEFAULT_MTU = 1280
NO_NETWORK = "none"
# Of the guest's kernel; the host's have no meaning there.
DEVICES = (
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
)


def check(request: ContainerRequest) -> None:
    """Refuse what can be refused before anything is made. Raises ContainerError(invalidArgument, unsupported)."""
    named = [item.network for item in request.networks or []]
    if NO_NETWORK in named and len(named) > 1:
        raise invalid_argument("no other networks may be created along with network none; leave out one or the others")
    volumes.check(request.mounts)
    refusals = [
        (request.virtualization, "nested virtualization (--virtualization)"),
        (request.init_image is not None, "a boot image of one's own (--init-image)"),
    ]
    for refused, what in refusals:
        if refused:
            raise ContainerError(
                ErrorCode.UNSUPPORTED, f"cannot create the container: {what} is not supported by this version"
            )
    for device in request.devices:
        _check_device(device.source)
    if named in ([], [NO_NETWORK]) and request.networks is not None and request.published_ports:
        raise invalid_argument("cannot publish ports of a container without a network; give it one with --network")
    if request.cpus is not None and request.cpus < 1:
        raise invalid_argument(f"a container needs at least 1 CPU (got {request.cpus})")
    if request.cpu_quota is not None and request.cpu_quota < MINIMUM_QUOTA:
        raise invalid_argument(f"a container needs at least 0.01 CPUs (got {request.cpu_quota / PERIOD:g})")
    if request.memory_in_bytes is not None:
        _check_memory(request.memory_in_bytes)
    if request.storage is not None and request.storage < MINIMUM_STORAGE:
        raise invalid_argument(f"minimum storage allowed is 64 MiB (got {request.storage} bytes)")
    if request.storage is not None and request.storage > ext4.MAXIMUM:
        raise invalid_argument(f"maximum storage allowed is 16 TiB (got {request.storage} bytes)")


def networks(request: ContainerRequest, id: str, domain: str | None) -> list[AttachmentConfiguration]:
    """The attachments of a container: the default network unless others, or none, were asked for."""
    asked = request.networks
    if asked is None:
        asked = [AttachmentConfiguration(DEFAULT_NETWORK, AttachmentOptions(hostname=id))]
    return [
        AttachmentConfiguration(
            item.network,
            replace(
                item.options,
                hostname=id if index else names.dns_name(id, domain),
                mtu=item.options.mtu or DEFAULT_MTU,
            ),
        )
        for index, item in enumerate(asked)
        if item.network != NO_NETWORK
    ]


def build(
    request: ContainerRequest, id: str, rootfs: Rootfs, defaults: ContainerDefaults, domain: str | None
) -> ContainerConfiguration:
    """The configuration of a new container. `domain` is the configured DNS domain.

    Raises ContainerError(invalidArgument) when neither image nor user say what to run, or the memory is too small.
    """
    memory = request.memory_in_bytes if request.memory_in_bytes is not None else defaults.memory_in_bytes
    _check_memory(memory)
    return ContainerConfiguration(
        id=id,
        creation_date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        image=rootfs.image,
        platform=rootfs.platform,
        resources=Resources(
            cpus=request.cpus or defaults.cpus,
            memory_in_bytes=memory // MIB * MIB,
            storage=request.storage,
            cpu_quota=request.cpu_quota,
        ),
        init_process=merge.init_process(request.process, rootfs.config),
        runtime_handler=request.runtime,
        mounts=volumes.watched(request.mounts) if defaults.inotify else list(request.mounts),
        published_ports=list(request.published_ports),
        published_sockets=list(request.published_sockets),
        hostname=request.hostname,
        extra_hosts=list(request.extra_hosts),
        devices=list(request.devices),
        networks=networks(request, id, domain),
        dns=_dns(request.dns, domain),
        labels=dict(request.labels),
        rosetta=request.rosetta,
        virtualization=request.virtualization,
        ssh=request.ssh,
        read_only=request.read_only,
        use_init=request.use_init,
        cap_add=list(request.cap_add),
        cap_drop=list(request.cap_drop),
        shm_size=request.shm_size,
        stop_signal=rootfs.config.get("StopSignal") or None,
        masked_paths=request.masked_paths,
        readonly_paths=request.readonly_paths,
        kernel=request.kernel,
        kernel_arguments=list(request.kernel_arguments),
        auto_remove=request.auto_remove,
    )


def _check_device(path: str) -> None:
    if path not in DEVICES:
        reason = f"it runs in a virtual machine of its own, which offers {', '.join(DEVICES)}"
        raise ContainerError(ErrorCode.UNSUPPORTED, f"the container cannot have the device {path}: {reason}")


def _check_memory(size: int) -> None:
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > host:
        what = f"cannot give a container {size // MIB} MiB of memory"
        raise invalid_argument(f"{what}: this host has {host // MIB} MiB; ask for less with --memory")
    if size < MINIMUM_MEMORY:
        raise invalid_argument(f"minimum memory amount allowed is 200 MiB (got {size} bytes); give more with --memory")


def _dns(asked: DNSConfiguration | None, domain: str | None) -> DNSConfiguration | None:
    return asked if asked is None or asked.domain else replace(asked, domain=domain)
