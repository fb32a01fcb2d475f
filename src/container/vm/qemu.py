"""One QEMU process from start to end: spawn, watch, stop by ladder, and say why it ended."""

import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from container.vm.qmp import Monitor
from container.vm.spec import VMSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """How a machine ended. `clean`: the guest powered off, or `shutdown` asked for it.

    `status` is QEMU's exit status (negative = signal); `reason` a sentence for the user.
    """

    clean: bool
    status: int
    reason: str


class VirtualMachine:
    """A running virtual machine; made by `start`."""

    pid: int
    agent: socket.socket  # host end of the virtio-serial port; non-blocking; closed with the machine
    qmp: Monitor

    @classmethod
    @asynccontextmanager
    async def start(cls, spec: VMSpec, *, boot_log: str) -> "AsyncIterator[VirtualMachine]":
        """Start QEMU and yield at once, before the guest has booted; leaving the context kills what still runs.

        Everything that the guest says on its console goes to `boot_log` (made anew). Must be entered on the main thread:
        QEMU dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG).
        Raises ContainerError: unsupported when QEMU is not installed, internal when it cannot be started.
        """
        raise NotImplementedError
        yield cls()

    async def wait(self) -> Ended:
        """Wait until QEMU has ended; any number of callers."""
        raise NotImplementedError

    async def guard(self, awaitable: Awaitable[T], *, doing: str, deadline: float | None = None) -> T:
        """The result of `awaitable`, which is cancelled when the machine ends first or `deadline` passes.

        `deadline` is in seconds of a machine with KVM: the accelerator's `speed` multiplies it. `doing` names the operation
        for the error. Raises ContainerError: interrupted when QEMU ended, timeout; both with the tail of QEMU's messages
        and of the boot log.
        """
        raise NotImplementedError

    async def shutdown(self, *, grace: float = 0.0) -> Ended:
        """Make the machine end: wait `grace` seconds (times `speed`) for the guest to power off by itself, then QMP quit,
        TERM, KILL, each step bounded. Returns when QEMU is gone."""
        raise NotImplementedError
