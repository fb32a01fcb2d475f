"""What the system service takes from `vm`, imported when it is first needed: the API server starts without it."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from container.model.event import Progress
from container.model.system import Accelerator, Kernel
from container.paths import Roots

if TYPE_CHECKING:
    from container.vm.kernel import KernelStore


class InstalledKernels:
    """`vm.kernel.KernelStore` of a system, and `vm.recommended`."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._opened: KernelStore | None = None

    @property
    def _store(self) -> "KernelStore":
        if self._opened is None:
            from container.vm.kernel import KernelStore

            self._opened = KernelStore(self._roots)
        return self._opened

    def default(self, architecture: str) -> Kernel | None:
        """The default kernel of an architecture."""
        return self._store.default(architecture)

    def adhoc(self, path: str, architecture: str) -> Kernel:
        """A kernel given by path."""
        return self._store.adhoc(path, architecture)

    def installed(self) -> dict[str, bool]:
        """Directories of the installed kernels, and whether a kernel is a default. Blocks."""
        return self._store.installed()

    def remove(self, directory: str) -> None:
        """Remove an installed kernel that is no default. Blocks."""
        self._store.remove(directory)

    def install(self, binary: str, modules: str | None, architecture: str, *, force: bool = False) -> Kernel:
        """Install a kernel and make it the default. Blocks."""
        return self._store.install(binary, modules, architecture, force=force)

    def install_recommended(self, architecture: str, *, force: bool = False) -> AsyncIterator[Progress]:
        """Download the recommended kernel and make it the default."""
        from container.vm import recommended

        return recommended.install(self._store, architecture, force=force)


class AcceleratorProbe:
    """`vm.probe` on a system."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    async def accelerator(self, kernel: Kernel) -> Accelerator:
        """The verdict; may boot a machine."""
        from container.vm import probe

        return await probe.accelerator(self._roots, kernel)
