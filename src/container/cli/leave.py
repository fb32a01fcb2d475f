"""The end of the program: what is printed is out, and the exit code tells when it could not be."""

from __future__ import annotations

import os
import sys

from container.cli import failures, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

FAILURE_EXIT = 1
BROKEN_PIPE_EXIT = 141


def leave(code: int) -> NoReturn:
    """Exit without taking the interpreter apart first, which would take as long as a small command."""
    try:
        if sys.stdout is not None:  # it is, when descriptor 1 is closed
            sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE_EXIT
    except OSError as error:
        output.error_line(failures.text(error))
        code = code or FAILURE_EXIT
    os._exit(code)
