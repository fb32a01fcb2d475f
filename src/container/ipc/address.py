"""Unix socket paths of any length: sun_path holds 107 bytes (unix(7)), a service's path may have more.

To connect, the socket's inode is opened with O_PATH and named `/proc/self/fd/N`. To bind, the socket gets a short name
beside the wanted one, its mode, and then the wanted name by rename(2). Imports os alone: the quick client uses it.
"""

import os

SUN_PATH_MAX = 107
BACKLOG = 4096

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
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
    """Create the directory of the sockets with mode 0700, or check that it is this user's own and closed to others.

    Raises PermissionError for a directory that is not ours (somebody else may have put it there, in /tmp), OSError.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if status.st_uid != os.geteuid() or status.st_mode & 0o170000 != 0o040000:
            raise PermissionError(1, "not a directory that belongs to this user", path) from None
        if status.st_mode & 0o077:
            os.chmod(path, 0o700)
