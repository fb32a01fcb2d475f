"""Failures as the CLI shows them: one error, or several of one call."""

from __future__ import annotations

import os

from container.errors import ContainerError, ErrorCode, ServiceLost

START_HINT = "Ensure container system service has been started with `container system start`."


class Failures(Exception):
    """Several failures of one call: `Error: ` and then one a line (contract 1.4)."""

    def __init__(self, errors: list[ContainerError]) -> None:
        super().__init__(f"{len(errors)} failures")
        self.errors = errors

    def text(self) -> str:
        """The lines of all errors."""
        return "\n".join(with_hint(with_code(error), error) for error in self.errors)


class Exit(Exception):
    """Leave with this code; everything was said."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def with_code(error: ContainerError) -> str:
    """`<code>: "<message>" (cause: "…")`."""
    text = f'{error.code.value}: "{error.message}"'
    if error.cause is not None:
        text += f' (cause: "{with_code_inside(error.cause)}")'
    return text


def with_code_inside(error: ContainerError) -> str:
    """`<code>: "<message> (cause: …)"`, as a cause is shown."""
    return f'{error.code.value}: "{error.describe()}"'


def with_hint(text: str, error: ContainerError) -> str:
    """`text`, followed by the hint to start the services when a connection to them failed."""
    cause: ContainerError | None = error
    while cause is not None:
        if isinstance(cause, ServiceLost):
            return f"{text}\n{START_HINT}"
        cause = cause.cause
    return text


def message(error: ContainerError) -> str:
    """Everything after `Error: ` of one error."""
    return with_hint(error.describe(), error)


def because(text: str, cause: ContainerError) -> ContainerError:
    """A failure of the client with the server's error as its cause."""
    return ContainerError(ErrorCode.INTERNAL, text, cause)


def describe(error: OSError) -> str:
    """`<path>: <reason>`."""
    reason = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, str | bytes) else reason
