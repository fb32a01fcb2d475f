"""Who is at the other end of a unix socket: SO_PEERCRED (unix(7)), taken by the kernel at connect(2)."""

import os
import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("3i")


class PeerCredentials(NamedTuple):
    """Process, user and group of a peer, as seen in this process's namespaces."""

    pid: int
    uid: int
    gid: int


def peer_credentials(sock: socket.socket) -> PeerCredentials:
    """Credentials of the peer of a connected unix socket. Raises OSError."""
    return PeerCredentials(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def is_trusted(uid: int) -> bool:
    """Whether a peer of that uid may talk to us: this process's own user and root."""
    return uid in (os.geteuid(), 0)
