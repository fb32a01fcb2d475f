"""The frequency of this host's time-stamp counter, which an emulated machine has as well (`native/src/tsc.c`)."""

from container.errors import ContainerError
from container.linux import native

_measured: list[int | None] = []


async def khz() -> int | None:
    """In kHz, measured once, within 50 ms. None: this host has no counter with one frequency."""
    if not _measured:
        try:
            _measured.append(int(await native.run("container-tsc", ())))
        except (ContainerError, ValueError):
            _measured.append(None)
    return _measured[0]
