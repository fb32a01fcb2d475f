"""Failures as the CLI shows them: one error, or several of one call."""

from __future__ import annotations

import os

from container.cli import logger
from container.errors import ContainerError, ErrorCode, ServiceLost, os_reason

REPORT_HINT = "run it again with --debug and report what that shows"
START_HINT = "Ensure container system service has been started with `container system start`."


class Failures(Exception):
    """Several failures of one call, a line for each."""

    def __init__(self, errors: list[ContainerError]) -> None:
        super().__init__(f"{len(errors)} failures")
        self.errors = errors

    def text(self) -> str:
        """The lines of all errors."""
        return "\n".join(line(error) for error in self.errors)


class Exit(Exception):
    """Leave with this code; everything was said."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def text(error: Exception) -> str:
    """All that is shown of whatever made a command fail; with `--debug`, where a fault of this program is."""
    if isinstance(error, Failures):
        return error.text()
    if isinstance(error, ContainerError):
        return line(error)
    if isinstance(error, OSError):
        return f"Error: {describe(error)}"
    if logger.debugging():
        import traceback

        logger.debug("".join(traceback.format_exception(error)).rstrip())
    return f"Error: the command failed by a fault of this program ({type(error).__name__}); {REPORT_HINT}"


def line(error: ContainerError) -> str:
    """What is shown of one error: a sentence, with `--debug` the codes and causes as well (contract 1.4).

    The hint to start the services follows when a connection to them failed.
    """
    text = f"Error: {error.trace() if logger.debugging() else error.describe()}"
    cause: ContainerError | None = error
    while cause is not None:
        if isinstance(cause, ServiceLost):
            return f"{text}\n{START_HINT}"
        cause = cause.cause
    return text


class Attempt:
    """`with Attempt("failed to pull image x"):` says that of a failure in it."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ContainerError):
            raise ContainerError(error.code, self._what, error) from error


def because(text: str, cause: ContainerError) -> ContainerError:
    """A failure of the client with the server's error as its cause."""
    return ContainerError(ErrorCode.INTERNAL, text, cause)


def describe(error: OSError) -> str:
    """`<path>: <reason>`; what has no path is a standard stream."""
    if isinstance(error.filename, str | bytes):
        return f"{os.fsdecode(error.filename)}: {os_reason(error)}"
    return f"cannot read or write a standard stream: {error.strerror or error}"
