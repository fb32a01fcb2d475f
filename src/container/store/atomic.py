"""Files that are either the old one or the new one, never half of it, also after a crash.

`write` makes a sibling, syncs it, renames it over the target and syncs the directory (rename(2), fsync(2)). Siblings
begin with a dot and end in `.tmp`; one that a crash left behind is garbage, and `sweep` removes it.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from container.errors import ContainerError, ErrorCode, internal, os_reason

SUFFIX = ".tmp"


def write(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` with `data`. Raises ContainerError(internal) and leaves the old file when that fails."""
    try:
        _replace(path, data, mode)
    except OSError as error:
        raise internal(f"cannot write {path}: {os_reason(error)}") from error


def write_json(path: str, value: Any, mode: int = 0o600) -> None:
    """Replace `path` with `value` as JSON, keys sorted, indented by 2, with a newline at the end."""
    write(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode(), mode)


def read_json(path: str) -> Any:
    """The JSON value in `path`.

    Raises ContainerError: notFound when there is no such file, else internalError with the path and what is wrong.
    """
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except FileNotFoundError as error:
        raise ContainerError(ErrorCode.NOT_FOUND, f"{path} does not exist") from error
    except OSError as error:
        raise internal(f"cannot read {path}: {os_reason(error)}") from error
    except ValueError as error:  # also UnicodeDecodeError
        raise internal(f"cannot read {path}: not JSON: {error}") from error


def sync_directory(path: str) -> None:
    """Make the names in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sweep(directory: str) -> None:
    """Remove what interrupted writes left in `directory`; call it where no write can be under way."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(SUFFIX):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def sibling(path: str) -> str:
    """A fresh name beside `path` for what will replace it; no longer than a file system takes."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name[:200]}.{os.urandom(6).hex()}{SUFFIX}")


def _replace(path: str, data: bytes, mode: int) -> None:
    temporary = sibling(path)
    with _removed_on_failure(temporary):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(temporary, path)
    sync_directory(os.path.dirname(path) or ".")


@contextlib.contextmanager
def _removed_on_failure(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
