"""Guest kernels: installing one, the recommended one, and which is the default."""

from collections.abc import AsyncIterator

from container.model.event import Progress
from container.model.system import Kernel
from container.paths import Roots


class KernelStore:
    """The kernels of one system, under `<app root>/kernels`: a directory each, and a link `default.kernel-<arch>`."""

    def __init__(self, roots: Roots) -> None:
        raise NotImplementedError

    def default(self, architecture: str) -> Kernel | None:
        """The default kernel of an architecture (amd64, arm64), None when none is installed."""
        raise NotImplementedError

    def adhoc(self, path: str, architecture: str) -> Kernel:
        """A kernel given by path for one container (`run --kernel`); uses the modules of an installed kernel of the same
        release, if any.

        Raises ContainerError: `kernel file not found at path P`, invalid-argument when it is no kernel.
        """
        raise NotImplementedError

    def install(self, binary: str, modules: str | None, architecture: str, *, force: bool = False) -> Kernel:
        """Install a bzImage or vmlinux, with `modules` = its /lib/modules/<release>, and make it the default. Blocks.

        Raises ContainerError: not-found, invalid-argument (no kernel, wrong architecture), exists without `force`.
        """
        raise NotImplementedError

    def install_recommended(self, architecture: str, *, force: bool = False) -> AsyncIterator[Progress]:
        """Download the distribution's cloud kernel and make it the default; needs no root.

        An async generator of progress (steps of 3). Raises ContainerError: unsupported where there is no apt.
        """
        raise NotImplementedError
