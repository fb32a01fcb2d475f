"""What a caller passed to be attached to a process: this process's own duplicates of its descriptors."""

import contextlib
import os

from asyncvarlink import FileDescriptor

from container.model.process import WindowSize
from container.plugins.runtime.attachment import Attachment


class Streams:
    """Owns up to three descriptors; None is /dev/null for input, and nobody for output. And the caller's attachment."""

    def __init__(
        self,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        attachment: Attachment | None = None,
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.attachment = attachment

    @classmethod
    def duplicate(
        cls,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
    ) -> "Streams":
        """Duplicates of the descriptors of a call, which live only as long as the call. Raises OSError."""
        with contextlib.ExitStack() as stack:
            streams = cls()
            stack.callback(streams.close)
            for name, descriptor in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
                if descriptor is not None:
                    setattr(streams, name, os.dup(descriptor.fileno()))
            if attachment is not None:
                streams.attachment = Attachment(attachment)
            stack.pop_all()
            return streams

    def window(self) -> WindowSize | None:
        """Size of the caller's terminal, None when there is none."""
        for fd in (self.stdout, self.stdin):
            if fd is not None:
                with contextlib.suppress(OSError):
                    size = os.get_terminal_size(fd)
                    return WindowSize(columns=size.columns, rows=size.lines)
        return None

    def complain(self, message: str, *, terminal: bool) -> None:
        """Tell the caller's user why the process did not run: on stderr, or on the terminal, which is raw."""
        fd, end = (self.stdout, "\r\n") if terminal else (self.stderr, "\n")
        if fd is not None:
            with contextlib.suppress(OSError):  # nobody reads it any more, or it is full and does not block
                os.write(fd, f"Error: {message}{end}".encode())

    def close(self) -> None:
        """Close what is open; may be called again."""
        for name in ("stdin", "stdout", "stderr"):
            fd = getattr(self, name)
            setattr(self, name, None)
            if fd is not None:
                os.close(fd)
        if self.attachment is not None:
            self.attachment.close()
