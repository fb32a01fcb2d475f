"""What a caller hands over to be attached to a process, on its way to a runtime helper."""

import os
from dataclasses import dataclass

from asyncvarlink import FileDescriptor


@dataclass(frozen=True)
class Streams:
    """Standard input, output and error, and the caller's end of its attachment; None: not given."""

    stdin: FileDescriptor | None = None
    stdout: FileDescriptor | None = None
    stderr: FileDescriptor | None = None
    attachment: FileDescriptor | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self._given())

    def duplicate(self) -> "Streams":
        """The same streams on descriptors of their own, for longer than the call that brought them; `close` them."""
        return Streams(*(None if item is None else _duplicate(item) for item in self._all()))

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        for item in self._given():
            item.close()

    def _given(self) -> list[FileDescriptor]:
        return [item for item in self._all() if item is not None]

    def _all(self) -> tuple[FileDescriptor | None, ...]:
        return self.stdin, self.stdout, self.stderr, self.attachment


def _duplicate(descriptor: FileDescriptor) -> FileDescriptor:
    return FileDescriptor(os.dup(descriptor.fileno()), should_close=True)
