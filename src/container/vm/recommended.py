"""The recommended kernel: the distribution's own cloud kernel, fetched by apt and unpacked without being installed.

Nothing here needs root: package lists that the host does not have are fetched into a directory of ours, and apt checks
every file against the distribution's signed index.
"""

import asyncio
import glob
import os
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from container.errors import ContainerError, ErrorCode, internal, os_reason
from container.model.event import Progress
from container.model.system import Kernel
from container.vm.kernel import KernelStore, check_architecture

STEPS = 3
# Meta packages, best first: Debian's kernel for cloud machines, Ubuntu's for virtual ones.
_META = {
    "amd64": ("linux-image-cloud-amd64", "linux-image-virtual"),
    "arm64": ("linux-image-cloud-arm64", "linux-image-virtual"),
}
_KERNEL_PACKAGE = re.compile(r"linux-(image|modules|binary)-(unsigned-)?\d[\w.+~-]*$")
_DEPENDS = re.compile(r"^\s*\|?(?:Pre)?Depends: (\S+)$", re.MULTILINE)
_LISTS_TIMEOUT, _DOWNLOAD_TIMEOUT, _TOOL_TIMEOUT = 120.0, 600.0, 120.0  # seconds


@dataclass(frozen=True)
class _Apt:
    """How to call apt: with the host's package lists, or with our own."""

    options: tuple[str, ...] = ()

    async def depends(self, package: str) -> list[str]:
        """What a package depends on; empty when apt does not know it."""
        status, text = await _run(["apt-cache", *self.options, "depends", "--important", package], _TOOL_TIMEOUT)
        return _DEPENDS.findall(text) if status == 0 else []


async def install(store: KernelStore, architecture: str, *, force: bool = False) -> AsyncGenerator[Progress, None]:
    """Download the distribution's cloud kernel and make it the default of `architecture`; progress in STEPS steps.

    Raises ContainerError: unsupported where apt or the package is missing, exists without `force`, internal when a
    download fails.
    """
    check_architecture(architecture)
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ContainerError(ErrorCode.UNSUPPORTED, _unsupported(f"{tool} is not there"))
    with store.scratch() as scratch:
        yield Progress("Downloading kernel", 1, STEPS)
        apt, packages = await _resolve(scratch, architecture)
        async with aclosing(_download(apt, packages, scratch)) as sizes:
            async for done, total in sizes:
                yield Progress("Downloading kernel", 1, STEPS, bytes=done, total_bytes=total)
        archives = sorted(glob.glob(os.path.join(scratch, "*.deb")))
        yield Progress("Verifying kernel archive", 2, STEPS)
        for archive in archives:
            await _must(["dpkg-deb", "--info", archive], f"cannot read the package {archive}")
        yield Progress("Unpacking kernel", 3, STEPS)
        await _unpack(store, archives, scratch, architecture, force)


async def _unpack(store: KernelStore, archives: Sequence[str], scratch: str, architecture: str, force: bool) -> Kernel:
    root = os.path.join(scratch, "root")
    for archive in archives:
        await _must(["dpkg-deb", "--extract", archive, root], f"cannot unpack the package {archive}")
    images = glob.glob(os.path.join(root, "boot", "vmlinu[xz]-*"))
    releases = glob.glob(os.path.join(root, "lib", "modules", "*")) + glob.glob(
        os.path.join(root, "usr", "lib", "modules", "*")
    )
    if len(images) != 1 or len(releases) != 1:
        names = ", ".join(os.path.basename(archive) for archive in archives)
        raise internal(
            f"the packages {names} hold {len(images)} kernels and {len(releases)} module trees, not one each"
        )
    return await asyncio.to_thread(store.install, images[0], releases[0], architecture, force=force)


async def _resolve(scratch: str, architecture: str) -> tuple[_Apt, list[str]]:
    """The packages that make up the kernel, and the apt that can fetch them."""
    foreign = await _foreign(architecture)
    host = _Apt()
    packages = await _packages(host, architecture, foreign)
    if packages:
        return host, packages
    own = await _own_lists(scratch, architecture if foreign else None)
    packages = await _packages(own, architecture, foreign)
    if packages:
        return own, packages
    raise ContainerError(ErrorCode.UNSUPPORTED, _unsupported(f"apt knows none of {', '.join(_META[architecture])}"))


async def _packages(apt: _Apt, architecture: str, foreign: bool) -> list[str]:
    suffix = f":{architecture}" if foreign else ""
    for meta in _META[architecture]:
        found: list[str] = []
        todo = [meta]
        while todo:
            for name in await apt.depends(todo.pop() + suffix):
                bare = name.partition(":")[0]
                if _KERNEL_PACKAGE.match(bare) and bare not in found:
                    found.append(bare)
                    todo.append(bare)
        if found:
            return [name + suffix for name in found]
    return []


async def _foreign(architecture: str) -> bool:
    """Whether the host's packages are for another architecture."""
    text = await _must(["dpkg", "--print-architecture"], "cannot tell the architecture of the host's packages")
    return text.strip() != architecture


async def _own_lists(scratch: str, foreign: str | None) -> _Apt:
    """Package lists of our own, from the host's sources: what `apt-get update` does for root."""
    lists, cache = os.path.join(scratch, "lists"), os.path.join(scratch, "cache")
    for directory in (os.path.join(lists, "partial"), os.path.join(cache, "archives", "partial")):
        os.makedirs(directory)
    options = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
    if foreign is not None:
        options += ["-o", f"APT::Architectures::={foreign}"]
    apt = _Apt(tuple(options))
    await _must(
        ["apt-get", *apt.options, "--quiet", "update"], "cannot fetch the distribution's package lists", _LISTS_TIMEOUT
    )
    return apt


async def _download(apt: _Apt, packages: Sequence[str], scratch: str) -> AsyncGenerator[tuple[int, int], None]:
    """Fetch packages into `scratch`; yields (bytes, of how many) as they arrive."""
    sizes = await _must(["apt-cache", *apt.options, "show", "--no-all-versions", *packages], "cannot find the kernel")
    total = sum(int(size) for size in re.findall(r"^Size: (\d+)$", sizes, re.MULTILINE))
    argv = ["apt-get", *apt.options, "-o", "APT::Status-Fd=1", "--quiet", "download", *packages]
    process = await _spawn(argv, cwd=scratch)
    async with _ended(process):
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(_DOWNLOAD_TIMEOUT):
                # `dlstatus:<number>:<percent>:<text>`: README.progress-reporting of apt.
                async for line in process.stdout:
                    kind, _, rest = line.decode(errors="replace").partition(":")
                    fields = rest.split(":")
                    if kind == "dlstatus" and len(fields) > 1:
                        yield int(total * min(100.0, float(fields[1])) / 100), total
                message = (await process.stderr.read()).decode(errors="replace")
                status = await process.wait()
        except TimeoutError as error:
            late = f"the download of the kernel takes over {_DOWNLOAD_TIMEOUT:g} s"
            raise ContainerError(ErrorCode.TIMEOUT, late) from error
    if status != 0:
        raise internal(f"cannot download {' '.join(packages)}: {_reason(message)}")


@asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Whatever happens inside, the process is gone afterwards."""
    try:
        yield
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _must(argv: Sequence[str], attempt: str, timeout: float = _TOOL_TIMEOUT) -> str:
    """Output of a command that has to succeed. Raises ContainerError(internal)."""
    status, text = await _run(argv, timeout)
    if status != 0:
        raise internal(f"{attempt}: {_reason(text)}")
    return text


async def _run(argv: Sequence[str], timeout: float) -> tuple[int, str]:
    """Exit status and output; the output is the standard error when the command failed."""
    process = await _spawn(argv)
    async with _ended(process):
        try:
            out, err = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError as error:
            message = f"`{' '.join(argv)}` takes over {timeout:g} s"
            raise ContainerError(ErrorCode.TIMEOUT, message) from error
    assert process.returncode is not None
    return process.returncode, (out if process.returncode == 0 else err).decode(errors="replace")


async def _spawn(argv: Sequence[str], cwd: str | None = None) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # we read what they print
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise internal(f"cannot start {argv[0]}: {os_reason(error)}") from error


def _reason(text: str) -> str:
    """The errors in apt's output, else its last line."""
    lines = [line for line in text.strip().splitlines() if line]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return "; ".join(errors) or (lines[-1] if lines else "no reason given")


def _unsupported(why: str) -> str:
    hint = "install a kernel with `container system kernel set --binary PATH --modules DIRECTORY`"
    return f"the recommended kernel comes from Debian's or Ubuntu's packages, and {why}: {hint}"
