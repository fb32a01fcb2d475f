"""What a child says on its standard error, read as it comes (pipe(7)): the child never waits for its reader."""

import asyncio
import os
from collections.abc import Callable

from container.errors import internal, os_reason

KEPT_MAX = 4096  # bytes, the last ones
LINE_MAX = 4096  # bytes; what is longer is cut


class StandardError:
    """Our end of a pipe, and until `handed_over` the child's, `write`.

    What the pipe has no room for is lost: the child's write(2) fails with EAGAIN.
    """

    def __init__(self, heard: Callable[[str], None]) -> None:
        """`heard` is called with each line that is not empty. Raises ContainerError(internal) without descriptors."""
        try:
            self._read, self.write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise internal(f"cannot make a pipe: {os_reason(error)}") from error
        self._heard = heard
        self.count = 0  # bytes that came
        self._kept = b""
        self._begun = b""  # a line whose end has not come
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read, self._take)

    def text(self) -> str:
        """The last KEPT_MAX bytes."""
        return self._kept.decode(errors="replace").strip()

    def handed_over(self) -> None:
        """The child has its copy."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def drain(self) -> None:
        """Take what is there now, for one who has heard before us that the child has ended."""
        while self._take():
            pass

    def close(self) -> None:
        """Stop listening; the text stays."""
        self.handed_over()
        if self._read >= 0:
            self._loop.remove_reader(self._read)
            os.close(self._read)
            self._read = -1

    def _take(self) -> bool:
        """Take a pipeful; whether there was one."""
        if self._read < 0:
            return False
        try:
            data = os.read(self._read, 1 << 16)
        except BlockingIOError:
            return False
        self.count += len(data)
        self._kept = (self._kept + data)[-KEPT_MAX:]
        *lines, self._begun = (self._begun + data).split(b"\n")
        if not data:
            self.close()
        if not data or len(self._begun) > LINE_MAX:
            lines, self._begun = [*lines, self._begun], b""
        for line in filter(None, lines):
            self._heard(line[:LINE_MAX].decode(errors="replace"))
        return bool(data)
