"""Which accelerator really works here: a verdict with its reason, kept until kernel, QEMU or host boot change."""

from container.model.system import Accelerator, Kernel
from container.paths import Roots


async def accelerator(roots: Roots, kernel: Kernel) -> Accelerator:
    """The accelerator to use for this kernel; boots it once under KVM when `/dev/kvm` opens and no verdict is kept.

    `CONTAINER_ACCELERATOR` = `kvm` or `tcg` overrides (`auto`, the default, probes).
    Raises ContainerError: invalid-argument for another value of it, unsupported when QEMU is not installed.
    """
    raise NotImplementedError


def recorded(roots: Roots, kernel: Kernel) -> Accelerator | None:
    """The verdict that is kept or that the environment dictates, without booting anything; None when unknown."""
    raise NotImplementedError
