"""Many flow-controlled streams over one socket: the host's side of `guest/include/proto.h`."""


class Mux:
    """One channel."""


class Stream:
    """One stream of it; both directions."""

    async def read(self) -> bytes:
        """Next bytes, b"" at the end. ContainerError(INTERRUPTED) after a reset or when the channel ended."""
        raise NotImplementedError

    async def write(self, data: bytes) -> None:
        """Send bytes; waits for credit."""

    async def write_eof(self) -> None:
        """No more will be written."""
