"""The system as a whole (contract 3.5)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """Answer of the API server to a ping.

    `accelerator` is `kvm` or `tcg`, `unknown` without a verdict, with the reason for it. `accelerator_notice` is what
    users are told of slow machines, in a sentence with what to do; None where there is nothing to do. `starts` of
    containers since it began; `repeated_starts` of them hung or could not be restored, and were repeated.
    """

    app_root: str
    install_root: str
    log_root: str
    api_server_version: str
    api_server_commit: str
    api_server_build: str
    api_server_app_name: str
    accelerator: str
    accelerator_reason: str
    supervisor: str
    accelerator_notice: str | None = None
    starts: int = 0
    repeated_starts: int = 0


@dataclass(frozen=True)
class Kernel:
    """An installed guest kernel: an uncompressed `vmlinux` or a bzImage, and the directory of its modules, if any."""

    path: str
    architecture: str
    release: str | None = None
    modules: str | None = None


@dataclass(frozen=True)
class Accelerator:
    """Verdict of the accelerator probe. `speed` multiplies timeouts: 1.0 on KVM, more under emulation.

    `advice` is what the user can do so that it is KVM; None where that is the case, or emulation was asked for.
    """

    name: str  # kvm or tcg
    reason: str
    speed: float
    tsc_khz: int | None = None  # frequency of the time-stamp counter that an emulated machine has: the host's
    advice: str | None = None


@dataclass(frozen=True)
class ResourceUsage:
    """What one kind of thing takes on disk: how many, how many in use, allocated bytes of all and of the unused."""

    total: int
    active: int
    size_in_bytes: int
    reclaimable: int


@dataclass(frozen=True)
class DiskUsage:
    """`system df`."""

    images: ResourceUsage
    containers: ResourceUsage
    volumes: ResourceUsage
    kernels: ResourceUsage
    caches: ResourceUsage
    logs: ResourceUsage
    other: ResourceUsage  # the rest of the app root
