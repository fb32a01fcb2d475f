"""The system as a whole: its health, its kernels, and the accelerator that works here."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from container import version
from container.apiserver.background import Background
from container.apiserver.containers.starts import Starts
from container.errors import ContainerError, ErrorCode, invalid_argument, not_found
from container.model.event import Progress
from container.model.plugin import CLIPlugin
from container.model.system import Accelerator, Health, Kernel
from container.paths import Roots

_log = logging.getLogger(__name__)

PROGRAM = "container-apiserver"
ARCHITECTURES = ("amd64", "arm64")
UNDECIDED = Accelerator("unknown", "not probed yet", 1.0)


class Kernels(Protocol):
    """The installed kernels (`vm.kernel.KernelStore`)."""

    def default(self, architecture: str) -> Kernel | None:
        """The default kernel of an architecture."""

    def adhoc(self, path: str, architecture: str) -> Kernel:
        """A kernel given by path. Blocks."""

    def install(self, binary: str, modules: str | None, architecture: str, *, force: bool = False) -> Kernel:
        """Install a kernel and make it the default. Blocks."""

    def install_recommended(self, architecture: str, *, force: bool = False) -> AsyncIterator[Progress]:
        """Download the recommended kernel and make it the default."""


class Prober(Protocol):
    """The accelerator probe (`vm.probe`)."""

    async def accelerator(self, kernel: Kernel) -> Accelerator:
        """The verdict; may boot a machine, the first time. Raises ContainerError."""


class Plugins(Protocol):
    """The plugins on disk."""

    def cli(self) -> list[CLIPlugin]:
        """Those without services, sorted by name."""


class SystemService:
    """`architecture` is the host's; machines run with kernels of it."""

    def __init__(
        self,
        roots: Roots,
        supervisor: str,
        architecture: str,
        kernels: Kernels,
        prober: Prober,
        plugins: Plugins,
        tasks: Background,
        starts: Starts,
    ) -> None:
        """`supervisor` is the back end's name, `starts` counts those of containers."""
        self._roots = roots
        self._supervisor = supervisor
        self._architecture = architecture
        self._kernels = kernels
        self._prober = prober
        self._plugins = plugins
        self._tasks = tasks
        self._starts = starts
        self._probing = asyncio.Lock()
        self._verdict = UNDECIDED
        self._decided = asyncio.Event()
        self._noticed = False

    def health(self) -> Health:
        """What is known now; waits for nothing."""
        return Health(
            app_root=self._roots.app,
            install_root=self._roots.install,
            log_root=self._roots.log,
            api_server_version=version.version_line(PROGRAM),
            api_server_commit=version.COMMIT,
            api_server_build=version.BUILD,
            api_server_app_name=PROGRAM,
            accelerator=self._verdict.name,
            accelerator_reason=self._verdict.reason,
            accelerator_notice=_notice(self._verdict),
            supervisor=self._supervisor,
            starts=self._starts.total,
            repeated_starts=self._starts.repeated,
        )

    async def decided(self) -> Health:
        """`health` when no probe is under way any more."""
        await self._decided.wait()
        return self.health()

    def notice(self) -> str | None:
        """What the user should know of slow machines; once, then None."""
        notice = None if self._noticed else _notice(self._verdict)
        self._noticed = self._noticed or notice is not None
        return notice

    def delay(self) -> str | None:
        """Why a start takes long now, in a few words; None: no reason is known."""
        if not self._decided.is_set():
            return "testing whether KVM works"
        reasons = ["emulated without KVM"] if self._verdict.name == "tcg" else []
        load, cpus = os.getloadavg()[0], os.cpu_count() or 1
        if load > cpus:
            reasons.append(f"load {load:.0f} on {cpus} CPUs")
        return ", ".join(reasons) or None

    async def probe(self) -> None:
        """Find out which accelerator works with the default kernel, for `health` and for the first start."""
        try:
            await self._probe()
        finally:
            self._decided.set()

    async def _probe(self) -> None:
        kernel = await asyncio.to_thread(self._kernels.default, self._architecture)
        if kernel is None:
            self._verdict = Accelerator(UNDECIDED.name, "no kernel is installed", 1.0)
            return
        self._verdict = UNDECIDED
        try:
            self._verdict = await self.accelerator(kernel)
        except ContainerError as error:
            _log.warning("no accelerator: %s", error.describe())
            self._verdict = Accelerator(UNDECIDED.name, error.describe(), 1.0)

    async def accelerator(self, kernel: Kernel) -> Accelerator:
        """The verdict for machines with `kernel`: that of the default kernel if there is one, the host being the same.

        One is probed at a time. Raises ContainerError(unsupported) without QEMU.
        """
        probed = self._kernels.default(self._architecture) or kernel
        async with self._probing:
            return await self._prober.accelerator(probed)

    async def kernel(self, path: str | None) -> Kernel:
        """The kernel for a container: the one at `path`, else the default. Raises ContainerError(notFound)."""
        if path is not None:
            return await asyncio.to_thread(self._kernels.adhoc, path, self._architecture)
        kernel = self._kernels.default(self._architecture)
        if kernel is None:
            raise not_found(
                f"default kernel not configured for architecture {self._architecture}, "
                "please use the `container system kernel set` command to configure it"
            )
        return kernel

    async def default_kernel(self, architecture: str) -> Kernel | None:
        """The default kernel of an architecture. Raises ContainerError(unsupported) for an unknown one."""
        _check(architecture)
        return await asyncio.to_thread(self._kernels.default, architecture)

    async def install_kernel(
        self, binary: str, modules: str | None, architecture: str, force: bool
    ) -> AsyncGenerator[Progress, None]:
        """Make a kernel on disk the default, then probe with it. Raises ContainerError."""
        _check(architecture)
        yield Progress("Unpacking kernel", step=3, steps=3)
        await asyncio.to_thread(self._kernels.install, binary, modules, architecture, force=force)
        self._probe_again()

    async def install_recommended_kernel(self, architecture: str, force: bool) -> AsyncGenerator[Progress, None]:
        """Download the recommended kernel, make it the default, then probe with it. Raises ContainerError."""
        _check(architecture)
        async for progress in self._kernels.install_recommended(architecture, force=force):
            yield progress
        self._probe_again()

    def cli_plugins(self) -> list[CLIPlugin]:
        """The plugins without services, sorted by name."""
        return self._plugins.cli()

    def _probe_again(self) -> None:
        self._decided.clear()
        self._tasks.start(self.probe(), "the accelerator probe")


def _notice(verdict: Accelerator) -> str | None:
    if verdict.advice is None:
        return None
    reason = verdict.reason.partition(": ")[0]  # what QEMU said besides is in the status
    return (
        f"Virtual machines are emulated here, without KVM, and ten or more times slower: {reason}. "
        f"To change that: {verdict.advice}"
    )


def _check(architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise ContainerError(ErrorCode.UNSUPPORTED, f"unsupported architecture {architecture}")


def missing_binary() -> ContainerError:
    """The error of a kernel installation that says neither which nor the recommended one."""
    return invalid_argument("missing argument '--binary'")
