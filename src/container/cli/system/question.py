"""Asking before something goes for good."""

from __future__ import annotations

import sys

from container.cli import output
from container.errors import ContainerError, ErrorCode

PROMPT = "Are you sure you want to continue? [y/N] "


def ask(lines: list[str], without: str = "--force") -> bool:
    """Print what would happen and whether the answer is yes.

    Raises ContainerError(invalidArgument) when nobody answers; `without` is the option that does not ask.
    """
    output.write("".join(f"{line}\n" for line in lines) + PROMPT)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        output.line("")
        text = f"failed to read user input: nothing was removed; {without} goes on without asking"
        raise ContainerError(ErrorCode.INVALID_ARGUMENT, text)
    return answer.strip().lower() in ("y", "yes")
