"""QEMU's monitor (QMP, docs/interop/qmp-spec.rst of QEMU) over a socket that is already connected."""

from collections.abc import Mapping


class Monitor:
    """One QMP connection."""

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, timeout: float = 10.0
    ) -> object:
        """Run one command and return its `return` value.

        Raises ContainerError: internal with QEMU's own text, timeout, interrupted when QEMU is gone.
        """
        raise NotImplementedError
