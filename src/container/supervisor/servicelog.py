"""Log files of services: appended to by whatever runs, and put aside when they have grown.

One former file is kept beside it (`<path>.1`). That happens when a service starts: one that writes much is one that
fails and is started again and again.
"""

import contextlib
import os

LIMIT = 4 << 20  # bytes
FORMER = ".1"


def open_log(path: str) -> int:
    """A descriptor to append to the log at `path`, made with its directory if need be. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    if os.fstat(fd).st_size <= LIMIT:
        return fd
    os.close(fd)
    os.replace(path, path + FORMER)
    return os.open(path, flags, 0o600)


def remove_log(path: str) -> None:
    """Remove a log and what was put aside of it, if they are there. Raises OSError."""
    for name in (path, path + FORMER):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
