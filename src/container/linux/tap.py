"""TAP interfaces (kernel documentation, networking/tuntap) on a bridge inside a network namespace."""

import contextlib
import os
import socket

from container.errors import internal
from container.linux import native
from container.linux.netns import PROGRAM, Namespace

MTU_MAX = 65521  # the tun driver's limit: 65535 less the Ethernet header


async def open_tap(namespace: Namespace, *, name: str, bridge: str, mtu: int) -> int:
    """Create a TAP with virtio-net headers as a port of `bridge`, and return its descriptor, which the caller owns.

    The interface goes away with the last copy of the descriptor. A larger `mtu` than MTU_MAX is cut to it.
    Raises ContainerError, with what to do when /dev/net/tun is missing or closed to this user.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.enter_context(ours)
        with theirs:
            arguments = ["tap", *namespace.options, "--socket", str(theirs.fileno()), "--bridge", bridge]
            arguments += ["--mtu", str(min(mtu, MTU_MAX)), name]
            await native.run(PROGRAM, arguments, (*namespace.descriptors, theirs.fileno()))
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1, socket.MSG_CMSG_CLOEXEC)
        if not descriptors:
            raise internal(f"cannot take over the tap {name}: no descriptor came with it")
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]
