"""Unix socket paths of any length: sun_path holds 107 bytes (unix(7)), a service's path may have more.

To connect, the socket's inode is opened with O_PATH and named `/proc/self/fd/N`. To bind, the socket gets a short name
beside the wanted one, its mode, and then the wanted name by rename(2). Imports little, for the quick
client.
"""

import os
import stat
from _socket import SO_PEERCRED, SOL_SOCKET
from sys import byteorder

from container.errors import ContainerError, ErrorCode

SUN_PATH_MAX = 107
BACKLOG = 4096

_ELSEWHERE = "have it removed, or set CONTAINER_RUN_ROOT to a directory of your own"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from _socket import socket as _socket
    from collections.abc import Callable


def connect(path: str, connect_to: "Callable[[str], object]") -> None:
    """Call `connect_to` with an address that leads to the socket at `path`. Raises OSError."""
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        connect_to(path)
        return
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        connect_to(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def connect_service(path: str, sock: "_socket") -> None:
    """Connect `sock` to the service at `path`, which is this user's own or root's: nothing has been sent by then.

    Raises ContainerError(unauthenticated) when its directory or the server may be somebody else's, OSError.
    """
    check_run_root(os.path.dirname(path))
    connect(path, sock.connect)
    # struct ucred (unix(7)) of whoever called listen(2): pid, uid, gid
    uid = int.from_bytes(sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)[4:8], byteorder)
    if uid not in (os.geteuid(), 0):
        raise _stranger(f"cannot talk to the server at {path}: another user runs it, with the uid {uid}")


def bind(sock: "socket.socket", path: str, mode: int = 0o600) -> None:
    """Bind a fresh unix socket to `path`, replacing what is there; nobody can connect before listen(2).

    Raises OSError.
    """
    directory, name = os.path.split(path)
    fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    temporary = f".{os.getpid():x}.{os.urandom(4).hex()}"
    try:
        sock.bind(f"/proc/self/fd/{fd}/{temporary}")
        try:
            os.chmod(temporary, mode, dir_fd=fd)
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except OSError:
            os.unlink(temporary, dir_fd=fd)
            raise
    finally:
        os.close(fd)


def make_run_root(path: str) -> None:
    """Create the directory of the sockets with mode 0700, or check the one that is there.

    Raises ContainerError(unauthenticated) for one that is somebody else's or open to others, OSError.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        check_run_root(path)


def check_run_root(path: str) -> None:
    """Raise ContainerError(unauthenticated) unless the directory is this user's own and closed to all others.

    In /tmp anybody may have made it first.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise _stranger(f"cannot use the run root {path}: it is not a directory; {_ELSEWHERE}")
    if status.st_uid != os.geteuid():
        owner = f"it belongs to another user, with the uid {status.st_uid}"
        raise _stranger(f"cannot use the run root {path}: {owner}; {_ELSEWHERE}")
    if status.st_mode & 0o077:
        mode = f"it is open to other users (mode {stat.S_IMODE(status.st_mode):04o})"
        raise _stranger(f"cannot use the run root {path}: {mode}; close it: chmod 700 {path}")


def _stranger(message: str) -> ContainerError:
    return ContainerError(ErrorCode.UNAUTHENTICATED, message)
