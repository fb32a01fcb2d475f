"""One QEMU process from start to end: spawn, watch, stop by ladder, and say why it ended."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from container.errors import ContainerError, ErrorCode, internal, os_reason
from container.vm import argv
from container.vm.process import Child
from container.vm.qmp import Monitor
from container.vm.spec import VMSpec, Wiring

T = TypeVar("T")

HALTED = ("io-error", "paused")  # run states: the host's disk is full, or somebody stopped it; not the guest's fault

_QUIT_TIMEOUT = 2.0  # seconds of a machine with KVM, for each rung of the ladder
_TERM_TIMEOUT = 2.0
_LOOK_TIMEOUT = 15.0
_FULL_PAUSE = 2.0  # seconds until a write that had no room is tried again
_LOG_TAIL = 8192  # bytes of the boot log that are looked at
_LOG_LINES = 12  # and lines that are shown
_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")


@dataclass(frozen=True)
class Ended:
    """How a machine ended. `clean`: the guest powered off, or `shutdown` asked QEMU to quit.

    `status` is QEMU's exit status (negative = signal); `reason` a sentence for the user.
    """

    clean: bool
    status: int
    reason: str


class VirtualMachine:
    """A running virtual machine; made by `start`."""

    def __init__(self, spec: VMSpec, child: Child, agent: socket.socket, qmp: Monitor, boot_log: str) -> None:
        self.pid = child.pid
        self.agent = agent  # host end of the virtio-serial port; non-blocking; closed with the machine
        self.qmp = qmp
        self.boot_log = boot_log
        self.name = spec.name
        self._speed = max(1.0, spec.accelerator.speed)
        self._child = child

    @classmethod
    @asynccontextmanager
    async def start(cls, spec: VMSpec, *, boot_log: str, state: int | None = None) -> "AsyncIterator[VirtualMachine]":
        """Start QEMU and yield at once, before the guest has booted; leaving the context kills what still runs.

        With `state` (`vm.saved`) the guest does not boot, but goes on from there.

        Everything that the guest says on its console goes to `boot_log` (made anew). Enter it on the main thread: QEMU
        dies with the thread that started it. The taps of the spec may be closed once it has been entered.
        Raises ContainerError: unsupported when QEMU is not installed, internal when it cannot be started.
        """
        async with AsyncExitStack() as stack:
            with _translated(f"cannot start the virtual machine {spec.name}"):
                _create(boot_log)
                monitor, monitor_far = socket.socketpair()
                stack.callback(monitor.close)
                stack.callback(monitor_far.close)
                agent, agent_far = socket.socketpair()
                stack.callback(agent.close)
                stack.callback(agent_far.close)
                monitor.setblocking(False)
                agent.setblocking(False)
            wiring = Wiring(monitor_far.fileno(), agent_far.fileno(), boot_log, state)
            inherited = [wiring.monitor, wiring.agent, *(nic.tap for nic in spec.nics)]
            inherited += [share.socket for share in spec.shares]
            inherited += [] if state is None else [state]
            child = Child.start(argv.build(spec, wiring), inherited)
            stack.push_async_callback(child.close)
            monitor_far.close()
            agent_far.close()
            qmp = Monitor(monitor, spec.name)
            stack.push_async_callback(qmp.close)
            yield cls(spec, child, agent, qmp, boot_log)

    def processor_time(self) -> tuple[float, float]:
        """Seconds for which QEMU's threads, virtual CPUs included, have had a processor, and have waited for one."""
        return self._child.processor_time()

    async def activity(self) -> tuple[str, int]:
        """QEMU's run state ("" when it does not tell), and how many requests its disks have served."""
        try:
            status: Any = await self.qmp.execute("query-status", timeout=_LOOK_TIMEOUT)
            disks: Any = await self.qmp.execute("query-blockstats", timeout=_LOOK_TIMEOUT)
        except ContainerError:
            return "", 0
        operations = (disk["stats"][key] for disk in disks for key in ("rd_operations", "wr_operations"))
        return str(status["status"]), sum(operations)

    async def wait(self) -> Ended:
        """Wait until QEMU has ended; any number of callers."""
        return self._describe(await asyncio.shield(self._child.ended))

    async def guard(self, awaitable: Awaitable[T], *, doing: str, deadline: float | None = None) -> T:
        """The result of `awaitable`, which is cancelled when the machine ends first or `deadline` passes.

        `deadline` is in seconds of a machine with KVM: the accelerator's `speed` multiplies it. `doing` names the
        operation for the error. Raises ContainerError: interrupted when QEMU ended, timeout; both with the tail of
        QEMU's messages and of the boot log.
        """
        ended, loop = self._child.ended, asyncio.get_running_loop()
        limit = None if deadline is None else deadline * self._speed
        scope, inside = asyncio.timeout(limit), True

        def stop(_: "asyncio.Future[int]") -> None:
            if inside and not scope.expired():
                scope.reschedule(loop.time())

        try:
            async with scope:
                ended.add_done_callback(stop)
                try:
                    return await awaitable
                finally:
                    inside = False
                    ended.remove_done_callback(stop)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise self._failure(doing, limit) from error
        except ContainerError as error:
            # The channel breaks a moment before the process is gone: tell what was behind it.
            if error.code is not ErrorCode.INTERRUPTED or await self._child.wait(_TERM_TIMEOUT) is None:
                raise
            raise self._failure(doing, limit) from error

    async def keep_going(self) -> None:
        """Go on whenever the host's disk was full; for a machine that runs for a while."""
        await asyncio.sleep(_FULL_PAUSE)
        await self.qmp.keep_going(_FULL_PAUSE)

    async def shutdown(self, *, grace: float = 0.0) -> Ended:
        """Make the machine end, and return when QEMU is gone.

        Waits `grace` seconds (times the accelerator's `speed`) for the guest to power off by itself, then QMP quit,
        TERM, KILL, each step bounded. Raises ContainerError(internal) when not even KILL ends it.
        """
        child = self._child
        if grace > 0 and await child.wait(grace * self._speed) is not None:
            return await self.wait()
        with suppress(ContainerError):  # a monitor that does not answer is what the next rungs are for
            await self.qmp.execute("quit", timeout=_QUIT_TIMEOUT * self._speed)
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                child.send(number)
            if await child.wait(_TERM_TIMEOUT * self._speed) is not None:
                return await self.wait()
        raise internal(f"QEMU of {self.name} (process {self.pid}) does not end, not even by SIGKILL")

    def _describe(self, status: int) -> Ended:
        if status < 0:
            name = signal.Signals(-status).name
            return Ended(False, status, f"QEMU was ended by {name}{self.evidence()}")
        if status > 0:
            return Ended(False, status, f"QEMU exited with status {status}{self.evidence()}")
        panic = _PANIC.search(_tail(self.boot_log))
        if panic:
            return Ended(False, status, f"the guest kernel panicked ({panic.group(1)}){self.evidence()}")
        return Ended(True, status, "the virtual machine was powered off")

    def _failure(self, doing: str, limit: float | None) -> ContainerError:
        if self._child.ended.done():
            ended = self._describe(self._child.ended.result())
            reason = ended.reason + (self.evidence() if ended.clean else "")
            return ContainerError(ErrorCode.INTERRUPTED, f"{doing} failed: {reason}")
        return ContainerError(ErrorCode.TIMEOUT, f"{doing} failed: no answer within {limit:g} s{self.evidence()}")

    def evidence(self) -> str:
        """`: ` and the last words of QEMU and of the guest's console, or nothing when they said nothing."""
        parts = [self._child.messages()]
        lines = _tail(self.boot_log).splitlines()[-_LOG_LINES:]
        if lines:
            parts.append("last lines of the boot log:\n" + "\n".join(lines))
        text = "\n".join(part for part in parts if part)
        return f": {text}" if text else ""


@contextmanager
def _translated(attempt: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise internal(f"{attempt}: {error.filename or 'socketpair'}: {os_reason(error)}") from error


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL))
            return file.read().decode(errors="replace").replace("\r\n", "\n").strip()
    except OSError:
        return ""
