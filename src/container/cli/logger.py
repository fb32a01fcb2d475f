"""Log lines of the CLI: bare messages on standard error, metadata in brackets, more with `--debug` (contract 1.4)."""

from __future__ import annotations

import os

from container.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_state = {"debug": "CONTAINER_DEBUG" in os.environ}


def enable_debug() -> None:
    """Show debug lines from now on, for this process and those it starts."""
    _state["debug"] = True
    os.environ.setdefault("CONTAINER_DEBUG", "1")


def debugging() -> bool:
    """Whether debug lines are shown."""
    return _state["debug"]


def info(message: str, **metadata: Any) -> None:
    """`message: ["key": "value", …]`, keys sorted."""
    if metadata:
        message += ": [" + ", ".join(f'"{key}": {_value(metadata[key])}' for key in sorted(metadata)) + "]"
    if debugging():
        message = f"{_now()} {message}"
    output.error_line(message)


def debug(message: str, **metadata: Any) -> None:
    """The same, only with `--debug`."""
    if debugging():
        info(message, **metadata)


warning = info


def _value(value: Any) -> str:
    return quoted(value) if isinstance(value, list) else f'"{value}"'


def quoted(names: list[str]) -> str:
    """`["a", "b"]`, as lists of names appear inside messages."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _now() -> str:
    import time

    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
