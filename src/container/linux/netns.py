"""Network namespaces, made and entered by the C program `container-netns`; ordinary users get a user namespace too."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterable

from container.linux import native
from container.linux.daemon import Daemon, spawn

PROGRAM = "container-netns"
_ANSWER_MAX = 4096
_LIFELINE_FD = 3  # of the holder: the write end of a pipe


class Namespace:
    """Descriptors that lead into a network namespace, and into the user namespace around it if there is one.

    A context manager; they keep the namespace alive.
    """

    def __init__(self, netns: int, userns: int | None) -> None:
        self.netns = netns
        self.userns = userns

    @classmethod
    def of(cls, pid: int) -> "Namespace":
        """The namespace that a process is in; the user namespace counts if it is another than ours. Raises OSError."""
        with contextlib.ExitStack() as stack:
            netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, netns)
            userns: int | None = None
            if os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
                userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            stack.pop_all()
            return cls(netns, userns)

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.netns)
        if self.userns is not None:
            os.close(self.userns)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a program that enters the namespace must inherit."""
        return (self.netns,) if self.userns is None else (self.netns, self.userns)

    @property
    def options(self) -> tuple[str, ...]:
        """How it is told of them."""
        user = () if self.userns is None else ("--userns", str(self.userns))
        return ("--netns", str(self.netns), *user)

    async def links(self) -> set[str]:
        """Names of the interfaces. Raises ContainerError."""
        return set((await native.run(PROGRAM, ["links", *self.options], self.descriptors)).split())

    async def run(self, *argv: str, data: bytes | None = None) -> str:
        """Run a program inside, with `data` on its standard input; returns its output. Raises ContainerError."""
        return await native.run(PROGRAM, ["exec", *self.options, *argv], self.descriptors, data)


def create(
    *, bridge: str, mac: str, addresses: Iterable[str], sysctls: Iterable[str], name: str
) -> contextlib.AbstractAsyncContextManager[Daemon]:
    """Make a namespace with a bridge, and a process that holds it and survives this one.

    `addresses` are the bridge's, with prefix length, at most one of each family; `sysctls` are `key=value`, with the
    path below /proc/sys as key; `name` shows up in the process list. The body takes note of the process: when it
    fails, or this process dies in it, the namespace is gone. Raises ContainerError.
    """
    arguments = ["--bridge", bridge, "--mac", mac]
    arguments += [f"--address={address}" for address in addresses]
    arguments += [f"--sysctl={sysctl}" for sysctl in sysctls]
    if os.geteuid() != 0:
        arguments.append("--user")
    return _holding([*arguments, name], ())


def hold(namespace: Namespace, *, name: str) -> contextlib.AbstractAsyncContextManager[Daemon]:
    """A process that holds a namespace that exists, as with `create`, when the one that did so is gone."""
    return _holding([*namespace.options, name], namespace.descriptors)


@contextlib.asynccontextmanager
async def _holding(arguments: list[str], fds: tuple[int, ...]) -> AsyncIterator[Daemon]:
    async with contextlib.AsyncExitStack() as stack:
        ours, theirs = socket.socketpair()
        with theirs:
            stack.callback(ours.close)
            try:
                holder = spawn(native.program(PROGRAM), ["hold", *arguments], fds, os.environ, theirs.fileno())
            except OSError as error:
                raise native.start_error(native.program(PROGRAM), error) from error
        stack.callback(holder.close)
        stack.push_async_callback(holder.stop)
        reader, writer = await asyncio.open_connection(sock=ours)
        stack.callback(writer.close)
        async with native.deadline(native.program(PROGRAM)):
            if (answer := await reader.read(_ANSWER_MAX)) != b"ready\n":
                raise native.failure(native.program(PROGRAM), answer)
            yield holder
            writer.write(b"\n")
            await reader.read()  # its end: the holder has settled
        writer.close()
        stack.pop_all()


def open_lifeline(holder: int) -> int:
    """A descriptor that hangs up when the holder ends. Raises OSError."""
    return os.open(f"/proc/{holder}/fd/{_LIFELINE_FD}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
