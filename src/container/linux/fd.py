"""File descriptors over unix sockets: SCM_RIGHTS (unix(7), cmsg(3))."""

import array
import os
import socket

SCM_MAX_FD = 253  # what the kernel takes in one message

_ITEM = array.array("i").itemsize
_CONTROL_SIZE = socket.CMSG_SPACE(SCM_MAX_FD * _ITEM)


def receive(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """Up to `size` bytes and the descriptors that came with them, close-on-exec; the caller owns them.

    Raises OSError. Empty bytes are the end of file.
    """
    data, ancillary, flags, _ = sock.recvmsg(size, _CONTROL_SIZE, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _ITEM])
    if not data or flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        if data:
            raise OSError(24, "descriptors of a message were lost: too many open files")
        return b"", []
    return data, list(fds)


def send(sock: socket.socket, data: memoryview, fds: list[int]) -> int:
    """Send some of `data`, with duplicates of `fds` at its first byte; returns how much went. Raises OSError."""
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    return sock.sendmsg([data], control, socket.MSG_NOSIGNAL)
