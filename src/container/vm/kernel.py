"""Guest kernels: the store of installed ones, and which is the default.

<app root>/kernels/
  <file name>/vmlinux       uncompressed, ready for QEMU
  <file name>/modules/      the modules that a guest loads, uncompressed, and modules.builtin
  <file name>/kernel.json   architecture, release
  default.kernel-<arch>     link to the vmlinux of the default
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, not_found, os_reason
from container.model.event import Progress
from container.model.system import Kernel
from container.paths import Roots
from container.store import atomic, locks
from container.vm import image, modules

ARCHITECTURES = ("amd64", "arm64")
_IMAGE = "vmlinux"
_RECORD = "kernel.json"
_MODULES = "modules"
_HOST_MODULES = "/lib/modules"
_PARTIAL = ".partial-"
_DOWNLOAD = ".download-"
_DOWNLOAD_MAX_AGE = 3600.0  # seconds


class KernelStore:
    """The kernels of one system."""

    def __init__(self, roots: Roots) -> None:
        self.directory = os.path.join(roots.app, "kernels")

    def default(self, architecture: str) -> Kernel | None:
        """The default kernel of an architecture (amd64, arm64), None when none is installed.

        Raises ContainerError(internal) when the link leads nowhere or the record beside it cannot be read.
        """
        link = self._link(architecture)
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise internal(f"cannot read {link}: {os_reason(error)}") from error
        return self._kernel(os.path.join(self.directory, target), architecture)

    def adhoc(self, path: str, architecture: str) -> Kernel:
        """A kernel given by path for one container (`run --kernel`).

        It gets the modules of an installed kernel of the same release, if any. Raises ContainerError: not-found,
        `kernel file not found at path P`; invalid-argument when it is no kernel of this architecture.
        """
        found = image.read(path)
        _check_architecture(found, path, architecture)
        for directory in self._directories():
            record = self._record(directory)
            if record.get("architecture") == architecture and record.get("release") == found.release:
                lender = self._kernel(os.path.join(directory, _IMAGE), architecture)
                return Kernel(os.path.abspath(path), architecture, found.release, lender.modules)
        return Kernel(os.path.abspath(path), architecture, found.release)

    def install(self, binary: str, modules_directory: str | None, architecture: str, *, force: bool = False) -> Kernel:
        """Install a bzImage, vmlinux or arm64 Image and make it the default of its architecture. Blocks for seconds.

        `modules_directory` is the kernel's /lib/modules/<release>; None: the host's for this release, if there is one.
        Raises ContainerError: not-found, invalid-argument (no kernel, wrong architecture, modules of another release),
        exists without `force`.
        """
        check_architecture(architecture)
        found = image.read(binary)
        _check_architecture(found, binary, architecture)
        chosen, source = _modules_for(found.release, modules_directory)
        name = os.path.basename(binary)
        with _translated(f"cannot install the kernel {name} in {self.directory}"):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            with locks.locked(os.path.join(self.directory, ".lock")):
                self._sweep()
                target = os.path.join(self.directory, name)
                if os.path.lexists(target) and not force:
                    message = f"kernel {name} is already installed at {target}: use --force to replace it"
                    raise ContainerError(ErrorCode.EXISTS, message)
                self._place(target, found, chosen, source)
                self._point(architecture, name)
        return self._kernel(os.path.join(target, _IMAGE), architecture)

    def install_recommended(self, architecture: str, *, force: bool = False) -> AsyncGenerator[Progress, None]:
        """Download the distribution's cloud kernel and make it the default; see `recommended.install`."""
        from container.vm import recommended

        return recommended.install(self, architecture, force=force)

    def installed(self) -> dict[str, bool]:
        """Directories of the installed kernels, and whether a kernel is the default of its architecture."""
        defaults = set()
        for architecture in ARCHITECTURES:
            with contextlib.suppress(OSError):
                defaults.add(os.path.realpath(self._link(architecture)))
        found = self._directories()
        return {directory: os.path.realpath(os.path.join(directory, _IMAGE)) in defaults for directory in found}

    def remove(self, directory: str) -> None:
        """Remove an installed kernel, unless it became a default meanwhile. Raises ContainerError."""
        with _translated(f"cannot remove the kernel {directory}"), locks.locked(os.path.join(self.directory, ".lock")):
            self._sweep()
            if self.installed().get(directory) is False:
                condemned = os.path.join(self.directory, f"{_PARTIAL}{os.path.basename(directory)}")
                os.rename(directory, condemned)
                shutil.rmtree(condemned)

    def scratch(self) -> "tempfile.TemporaryDirectory[str]":
        """A directory for a download, on the store's file system; what a crash left of earlier ones goes."""
        with _translated(f"cannot use {self.directory}"):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            for entry in os.scandir(self.directory):
                if entry.name.startswith(_DOWNLOAD) and time.time() - entry.stat().st_mtime > _DOWNLOAD_MAX_AGE:
                    shutil.rmtree(entry.path, ignore_errors=True)
            return tempfile.TemporaryDirectory(prefix=_DOWNLOAD, dir=self.directory, ignore_cleanup_errors=True)

    def _link(self, architecture: str) -> str:
        return os.path.join(self.directory, f"default.kernel-{check_architecture(architecture)}")

    def _kernel(self, path: str, architecture: str) -> Kernel:
        if not os.path.exists(path):
            hint = "use the `container system kernel set` command to install one"
            raise internal(f"the default kernel {path} is gone: {hint}")
        directory = os.path.dirname(path)
        record = self._record(directory)
        modules_directory = os.path.join(directory, _MODULES)
        return Kernel(
            path=path,
            architecture=architecture,
            release=record.get("release"),
            modules=modules_directory if os.path.isdir(modules_directory) else None,
        )

    def _record(self, directory: str) -> dict[str, Any]:
        path = os.path.join(directory, _RECORD)
        try:
            record = atomic.read_json(path)
        except ContainerError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return {}  # a link that the user laid to a kernel of his own
            raise
        if not isinstance(record, dict):
            raise internal(f"the record {path} is not a JSON object")
        return record

    def _directories(self) -> Iterator[str]:
        """Those of the installed kernels, whatever their records say."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.directory)):
                directory = os.path.join(self.directory, name)
                if not name.startswith(".") and os.path.isfile(os.path.join(directory, _IMAGE)):
                    yield directory

    def _place(self, target: str, found: image.KernelImage, chosen: list[modules.Module], source: str | None) -> None:
        partial = tempfile.mkdtemp(prefix=_PARTIAL, dir=self.directory)
        try:
            atomic.write(os.path.join(partial, _IMAGE), found.data, 0o644)
            if source is not None:
                _copy_modules(os.path.join(partial, _MODULES), chosen, source)
            record = {"architecture": found.architecture, "release": found.release}
            atomic.write_json(os.path.join(partial, _RECORD), record)
            if os.path.lexists(target):
                os.rename(target, f"{partial}.old")
            os.rename(partial, target)
            atomic.sync_directory(self.directory)
        finally:
            shutil.rmtree(f"{partial}.old", ignore_errors=True)
            shutil.rmtree(partial, ignore_errors=True)

    def _point(self, architecture: str, name: str) -> None:
        link = self._link(architecture)
        beside = atomic.sibling(link)
        os.symlink(os.path.join(name, _IMAGE), beside)
        os.rename(beside, link)
        atomic.sync_directory(self.directory)

    def _sweep(self) -> None:
        atomic.sweep(self.directory)
        for name in os.listdir(self.directory):
            if name.startswith(_PARTIAL):
                shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)


def check_architecture(architecture: str) -> str:
    """`architecture` when a guest can have it. Raises ContainerError(unsupported)."""
    if architecture not in ARCHITECTURES:
        raise ContainerError(ErrorCode.UNSUPPORTED, f"unsupported architecture {architecture}")
    return architecture


def _check_architecture(found: image.KernelImage, path: str, architecture: str) -> None:
    if found.architecture != architecture:
        raise invalid_argument(f"{path} is a kernel for {found.architecture}, not for {architecture}")


def _modules_for(release: str | None, directory: str | None) -> tuple[list[modules.Module], str | None]:
    """The modules to install and where they come from; none when the kernel has all it needs built in."""
    if directory is None:
        if release is None or not os.path.isdir(os.path.join(_HOST_MODULES, release)):
            return [], None
        directory = os.path.join(_HOST_MODULES, release)
    if not os.path.isdir(directory):
        raise not_found(f"kernel modules not found at path {directory}")
    chosen = modules.select(directory)
    for module in chosen:
        if release and module.release and module.release != release:
            raise invalid_argument(f"the modules in {directory} belong to kernel {module.release}, not to {release}")
    return chosen, directory


def _copy_modules(target: str, chosen: list[modules.Module], source: str) -> None:
    os.mkdir(target)
    for module in chosen:
        atomic.write(os.path.join(target, f"{module.name}.ko"), module.data, 0o644)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(os.path.join(source, "modules.builtin"), os.path.join(target, "modules.builtin"))


@contextlib.contextmanager
def _translated(attempt: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise internal(f"{attempt}: {os_reason(error)}") from error
