"""Typed client of the guest agent.

    async with GuestClient.connect(vm.agent, timeout=60.0) as guest:
        await guest.mount_rootfs(RootfsSpec(partitions=[1, 2]))
        process = await guest.start_init("web", configuration, ContainerSpec(hostname="web"), stdin=True)
        code = await relay(process, stdin=0, stdout=1, stderr=2)

Requests are sent in the order of the calls and the agent serves them in that order, so calls may be pipelined with a
TaskGroup. Each call has a deadline (`timeout` in seconds, None = the client's default) and raises GuestError: an
expected failure with the guest's errno and sentence; ContainerError(TIMEOUT) past the deadline;
ContainerError(INTERRUPTED) when the channel ended.
"""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from container.errors import ContainerError, ErrorCode
from container.guest.mux import Mux, Stream
from container.guest.spec import AgentInfo, ContainerSpec, FileSpec, InterfaceSpec, RootfsSpec, Statistics
from container.model.process import ProcessConfiguration, WindowSize


class GuestError(ContainerError):
    """A failure that the agent reports. `errno` is the guest's; `exit_code` is 126 or 127 when a program cannot be run."""

    def __init__(self, code: ErrorCode, message: str, errno: int, exit_code: int | None) -> None:
        super().__init__(code, message)
        self.errno = errno
        self.exit_code = exit_code


class GuestProcess:
    """A started process. `stdout` and `stderr` must be read (see `streams.relay`), or the process stalls."""

    id: str
    pid: int  # as the agent sees it
    terminal: bool
    stdin: Stream | None
    stdout: Stream | None
    stderr: Stream | None  # None with a terminal

    async def wait(self) -> int:
        """Exit code (128+n for signal n) as soon as the process ended; its output may still be on the way."""
        raise NotImplementedError

    @property
    def oom_killed(self) -> bool:
        """Whether the guest's out-of-memory killer struck in the container; valid after `wait`."""
        raise NotImplementedError

    async def signal(self, number: int, *, timeout: float | None = None) -> None:
        """Send a Linux signal number. The process is over: GuestError(NOT_FOUND)."""

    async def resize(self, size: WindowSize, *, timeout: float | None = None) -> None:
        """Set the terminal's window size."""


class GuestClient:
    """The agent of one virtual machine."""

    info: AgentInfo

    @classmethod
    @asynccontextmanager
    async def connect(cls, channel: socket.socket, *, timeout: float = 60.0) -> AsyncIterator["GuestClient"]:
        """Say HELLO and wait until the agent answers (= the guest is up); `timeout` is also the default deadline.

        `channel` stays the caller's. Leaving the context fails what is pending; nothing is sent any more.
        """
        raise NotImplementedError
        yield

    async def mount_rootfs(self, spec: RootfsSpec, *, timeout: float | None = None) -> None:
        """Mount layers, upper and overlay. Once."""

    async def configure_network(self, interfaces: Sequence[InterfaceSpec], *, timeout: float | None = None) -> None:
        """Bring up lo and the interfaces; waits for each MAC to appear."""

    async def write_files(self, files: Sequence[FileSpec], *, timeout: float | None = None) -> None:
        """Write files into the root file system (also into one that the container sees read-only)."""

    async def set_sysctls(self, sysctls: dict[str, str], *, timeout: float | None = None) -> None:
        """Set sysctls of the guest as a whole, before the container starts."""

    async def start_init(
        self,
        process_id: str,
        process: ProcessConfiguration,
        container: ContainerSpec,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        size: WindowSize | None = None,
        timeout: float | None = None,
    ) -> GuestProcess:
        """Make the container's namespaces and start its first process. A stream not asked for is /dev/null."""
        raise NotImplementedError

    async def start_exec(
        self,
        process_id: str,
        process: ProcessConfiguration,
        *,
        capabilities: Sequence[str] | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        size: WindowSize | None = None,
        timeout: float | None = None,
    ) -> GuestProcess:
        """Start a further process in the running container; capabilities None = those of the init process."""
        raise NotImplementedError

    async def statistics(self, *, timeout: float | None = None) -> Statistics:
        """Resource use up to now."""
        raise NotImplementedError

    async def sync(self, *, timeout: float | None = None) -> None:
        """Write back the upper file system."""

    async def freeze(self, *, timeout: float | None = None) -> None:
        """Stop writes to the upper file system until `thaw`."""

    async def thaw(self, *, timeout: float | None = None) -> None:
        """Undo `freeze`."""

    async def trim(self, *, timeout: float | None = None) -> int:
        """Discard unused blocks of the upper file system; bytes discarded."""
        raise NotImplementedError

    async def set_time(self, seconds: float, *, timeout: float | None = None) -> None:
        """Set the guest's clock: seconds since the epoch."""

    async def reseed(self, seed: bytes, *, timeout: float | None = None) -> None:
        """Credit random bytes to the guest's pool."""

    async def shutdown(self, *, timeout: float | None = None) -> None:
        """Kill all, unmount, sync; returns when the agent is about to power off."""
