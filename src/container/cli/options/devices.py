"""`--device PATH[:PATH-IN-CONTAINER[:rwm]]`."""

from __future__ import annotations

from container.errors import ContainerError, ErrorCode, invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORM = "/dev/NAME[:PATH-IN-CONTAINER[:rwm]]"
# What may be done cannot be limited: a process of root's may make such a node itself, as everywhere in the container.
_PERMISSIONS = ("rw", "rwm")


def parse_devices(words: list[str]) -> list[dict[str, Any]]:
    """The values of `--device`, in order. Raises ContainerError: invalidArgument, unsupported."""
    return [_parse(word) for word in words]


def _parse(word: str) -> dict[str, Any]:
    source, *more = word.split(":")
    permissions = more.pop() if more and not more[-1].startswith("/") else "rwm"
    destination = more.pop() if more else source
    if more or not source.startswith("/") or not destination.startswith("/") or destination.endswith("/"):
        raise invalid_argument(f"invalid device '{word}'. Expected: {FORM}")
    if permissions not in _PERMISSIONS:
        reason = "a device is readable and writable in the container"
        raise ContainerError(
            ErrorCode.UNSUPPORTED, f"invalid permissions '{permissions}' of the device {source}: {reason} (rwm)"
        )
    return {"source": source, "destination": destination}
