"""The small C programs that ship inside the package (`native/`, `guest/`)."""

import os

import container
from container.errors import ContainerError, ErrorCode


def program(name: str) -> str:
    """Path of one of our C programs; whether it is there shows when it is started."""
    return os.path.join(os.path.dirname(container.__file__), "_native", name)


def start_error(name: str, error: OSError) -> ContainerError:
    """What to say when one of them could not be started."""
    hint = "; build it with `make -C native`" if isinstance(error, FileNotFoundError) else ""
    return ContainerError(ErrorCode.INTERNAL, f"cannot start {program(name)}: {error.strerror}{hint}")
