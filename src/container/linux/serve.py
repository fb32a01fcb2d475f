"""Sockets inside a network namespace on which a process outside of it serves."""

import contextlib
import socket
from collections.abc import Sequence

from container.errors import internal
from container.linux import native
from container.linux.netns import PROGRAM, Namespace

_MAX = 16  # descriptors at once


async def open_services(
    namespace: Namespace, *, device: str, addresses: Sequence[str], port: int
) -> tuple[list[socket.socket], list[socket.socket]]:
    """UDP sockets and listening TCP sockets, one of each for each address; they do not block and are the caller's.

    They take only what comes in by `device`. Raises ContainerError.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.enter_context(ours)
        with theirs:
            arguments = ["serve", *namespace.options, "--socket", str(theirs.fileno()), "--bridge", device]
            arguments += ["--port", str(port), *addresses]
            await native.run(PROGRAM, arguments, (*namespace.descriptors, theirs.fileno()))
        _, descriptors, _, _ = socket.recv_fds(ours, 1, _MAX, socket.MSG_CMSG_CLOEXEC)
        sockets = [socket.socket(fileno=fd) for fd in descriptors]
        for sock in sockets:
            sock.set_inheritable(False)  # recv_fds does not pass its flags on
        if len(sockets) != 2 * len(addresses):
            for sock in sockets:
                sock.close()
            raise internal(
                "cannot take over the listening sockets: "
                f"{len(sockets)} came with the sockets on {', '.join(addresses)}"
            )
        for sock in sockets:
            sock.setblocking(False)
        return sockets[::2], sockets[1::2]
