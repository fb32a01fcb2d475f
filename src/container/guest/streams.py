"""Relays between a process in the guest and descriptors of the host: pipes, files, terminals, sockets."""

from collections.abc import Callable

from container.guest.client import GuestProcess

Tee = Callable[[bytes, str], None]  # (data, "stdout" | "stderr"); called in the loop, must not block


async def relay(
    process: GuestProcess,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    tee: Tee | None = None,
    drain: float = 2.0,
) -> int:
    """Relay until the process ended and its output is drained; returns its exit code.

    After the exit output is awaited at most `drain` seconds (a reader may be stuck). The descriptors stay the caller's,
    their O_NONBLOCK is not changed. An output whose reader went away is discarded from then on (the tee still gets it).
    End of file on stdin closes the process's stdin; a terminal that hangs up is a detach, the process goes on.
    """
    raise NotImplementedError
