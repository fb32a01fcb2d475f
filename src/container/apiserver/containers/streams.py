"""The standard streams that a caller hands over, on their way to a runtime helper."""

import os
from dataclasses import dataclass

from asyncvarlink import FileDescriptor


@dataclass(frozen=True)
class Streams:
    """Standard input, output and error; None: not given."""

    stdin: FileDescriptor | None = None
    stdout: FileDescriptor | None = None
    stderr: FileDescriptor | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(self._given())

    def duplicate(self) -> "Streams":
        """The same streams on descriptors of their own, for longer than the call that brought them; `close` them."""
        copies = [None if item is None else _duplicate(item) for item in (self.stdin, self.stdout, self.stderr)]
        return Streams(*copies)

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        for item in self._given():
            item.close()

    def _given(self) -> list[FileDescriptor]:
        return [item for item in (self.stdin, self.stdout, self.stderr) if item is not None]


def _duplicate(descriptor: FileDescriptor) -> FileDescriptor:
    return FileDescriptor(os.dup(descriptor.fileno()), should_close=True)
