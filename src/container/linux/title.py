"""What ps(1) and /proc/<pid>/cmdline show of this process."""

import ctypes
from collections.abc import Sequence

_ARG_START, _ARG_END = 45, 46  # proc_pid_stat(5), fields 48 and 49, counted behind the command's name


def set_command_line(words: Sequence[str]) -> None:
    """Write `words` over the argv that this process was started with, cut off where that had no more room."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    size = end - start
    if start and size > 0:
        text = b"".join(word.encode(errors="surrogateescape") + b"\0" for word in words)[: size - 1]
        ctypes.memmove(start, text.ljust(size, b"\0"), size)
