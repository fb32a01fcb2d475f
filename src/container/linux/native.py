"""The small C programs that ship inside the package (`native/`, `guest/`)."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable

import container
from container.errors import ContainerError, ErrorCode, internal, os_reason

TIMEOUT = 20.0
_PACKAGES = {"ip": "iproute2", "nft": "nftables", "pasta": "passt"}  # of Debian, where it is not named as the program


def program(name: str) -> str:
    """Path of one of our C programs; whether it is there shows when it is started."""
    return os.path.join(os.path.dirname(container.__file__), "_native", name)


def environment() -> dict[str, str]:
    """This process's environment, with system programs in PATH: an ordinary user's often lacks their directories."""
    path = os.environ.get("PATH") or os.defpath
    return {**os.environ, "PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin"}


def start_error(path: str, error: OSError) -> ContainerError:
    """What to say when a program could not be started."""
    hint = "; build it with `make -C native`" if isinstance(error, FileNotFoundError) else ""
    return internal(f"cannot start {path}: {os_reason(error)}{hint}")


async def run(name: str, arguments: Iterable[str], fds: Iterable[int] = (), data: bytes | None = None) -> str:
    """Run one of our programs with further descriptors and `data` on its standard input; returns its output.

    Raises ContainerError: internal with what it wrote to standard error, timeout after TIMEOUT seconds.
    """
    return await _run(program(name), arguments, fds, data)


async def run_program(name: str, *arguments: str, data: bytes | None = None) -> str:
    """The same for a program of the system, looked up in PATH."""
    return await _run(system_program(name), arguments, (), data)


def is_installed(name: str) -> bool:
    """Whether the system has this program."""
    return _find(name) is not None


def system_program(name: str) -> str:
    """Path of a program of the system. Raises ContainerError(unsupported)."""
    path = _find(name)
    if path is None:
        hint = f"install the package {_PACKAGES.get(name, name)}"
        raise ContainerError(ErrorCode.UNSUPPORTED, f"cannot run {name}: the program is not installed; {hint}")
    return path


def _find(name: str) -> str | None:
    return shutil.which(name, path=environment()["PATH"])


async def _run(path: str, arguments: Iterable[str], fds: Iterable[int], data: bytes | None) -> str:
    async with _started(path, arguments, fds) as process, deadline(path):
        out, err = await process.communicate(data)
    if process.returncode != 0:
        raise failure(path, err)
    return out.decode()


def failure(path: str, stderr: bytes) -> ContainerError:
    """The error of a program that ended with another status than 0."""
    reason = stderr.decode(errors="replace").strip()
    return internal(
        f"{path} ended with an error: {reason}" if reason else f"{path} ended with an error, and did not say why"
    )


@contextlib.asynccontextmanager
async def deadline(path: str) -> AsyncIterator[None]:
    """TIMEOUT seconds for the body; raises ContainerError(timeout) that names the program."""
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
    except TimeoutError as error:
        raise ContainerError(ErrorCode.TIMEOUT, f"{path} did not end within {TIMEOUT:.0f} s") from error


@contextlib.asynccontextmanager
async def _started(
    path: str, arguments: Iterable[str], fds: Iterable[int]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running program with pipes for its three streams, which ends with the body."""
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(fds),
            env=environment(),
        )
    except OSError as error:
        raise start_error(path, error) from error
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
