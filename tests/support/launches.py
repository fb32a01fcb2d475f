"""Launches for tests of the runtime."""

from container.model.container import ContainerConfiguration, DNSConfiguration, Resources
from container.model.image import Descriptor, ImageDescription, Platform, Rootfs, RootfsLayer
from container.model.launch import Launch
from container.model.network import Attachment
from container.model.process import ProcessConfiguration, User
from container.model.system import Accelerator, Kernel


def launch(id="box", arguments=("true",), **changes):
    """A launch of `arguments`; further keywords change the configuration."""
    platform = Platform("linux", "amd64")
    image = ImageDescription("docker.io/library/busybox:latest", Descriptor("", "sha256:" + "0" * 64, 0))
    executable, *rest = arguments
    init = ProcessConfiguration(executable, rest, ["PATH=/bin:/sbin"], "/", False, User(0, 0))
    values = {
        "id": id,
        "creation_date": "2026-01-01T00:00:00Z",
        "image": image,
        "platform": platform,
        "resources": Resources(cpus=2, memory_in_bytes=256 << 20),
        "init_process": init,
        "dns": DNSConfiguration(),
    } | changes
    return Launch(
        configuration=ContainerConfiguration(**values),
        rootfs=Rootfs(image, platform, "/disk.vmdk", [RootfsLayer(1, "sha256:" + "1" * 64, 1)]),
        kernel=Kernel("/vmlinux", "amd64"),
        accelerator=Accelerator("tcg", "test", 1.0),
    )


def attachment(ipv4="192.168.64.2/24", gateway="192.168.64.1", **changes):
    """What a network gives."""
    return Attachment("default", "box", ipv4, gateway, **changes)
