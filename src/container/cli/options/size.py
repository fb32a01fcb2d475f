"""Amounts of memory on the command line (contract 1.8)."""

from __future__ import annotations

from container.errors import invalid_argument

MINIMUM_MEMORY = 200 << 20


def parse_size(text: str) -> int:
    """Bytes of `512`, `1.5g`, `64 MiB`. Raises ContainerError `invalid size`, `invalid symbol: X`."""
    from container import config

    return config.parse_size(text)


def parse_memory(text: str) -> int:
    """Bytes for a container's `--memory`, cut to whole MiB, at least 200 MiB."""
    size = parse_size(text)
    if size < MINIMUM_MEMORY:
        raise invalid_argument(f"minimum memory amount allowed is 200 MiB (got {size} bytes); give more with --memory")
    return size >> 20 << 20
