"""The user's terminal while a process with a terminal of its own is attached to it."""

from __future__ import annotations

import os
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IFLAG, OFLAG, CFLAG, LFLAG, CC = 0, 1, 2, 3, 6


def raw(attributes: list[Any]) -> list[Any]:
    """The attributes with everything off that cfmakeraw(3) turns off; the guest's terminal does the processing."""
    changed = list(attributes)
    changed[IFLAG] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    changed[OFLAG] &= ~termios.OPOST
    changed[LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    changed[CFLAG] = changed[CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    changed[CC] = list(changed[CC])
    changed[CC][termios.VMIN], changed[CC][termios.VTIME] = 1, 0
    return changed


class Terminal:
    """A terminal that `enter_raw` changes and `restore` puts back, as often as needed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[Any] | None = None

    def enter_raw(self) -> None:
        """Hand every key to the process: no echo, no line editing, no signals. A terminal that is gone is left so."""
        try:
            if self._saved is None:
                self._saved = termios.tcgetattr(self._fd)
            termios.tcsetattr(self._fd, termios.TCSANOW, raw(self._saved))
        except termios.error:
            return

    def restore(self) -> None:
        """Put the terminal back as it was before the first `enter_raw`."""
        if self._saved is None:
            return
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
        except termios.error:
            return  # it is gone, and its modes with it
        finally:
            self._saved = None


class Blocking:
    """Remembers whether descriptors block: who relays the same open file may set O_NONBLOCK; shells choke on it."""

    def __init__(self, fds: tuple[int, ...] = (0, 1, 2)) -> None:
        self._modes = {fd: os.get_blocking(fd) for fd in fds}

    def restore(self) -> None:
        """Give every descriptor the mode it had."""
        for fd, blocking in self._modes.items():
            os.set_blocking(fd, blocking)


def window_size() -> dict[str, int] | None:
    """Columns and rows of the terminal on standard output, else on standard input; None without one."""
    for fd in (1, 0):
        try:
            size = os.get_terminal_size(fd)
        except OSError:
            continue
        if size.columns and size.lines:
            return {"columns": size.columns, "rows": size.lines}
    return None
