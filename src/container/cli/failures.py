"""Failures as the CLI shows them: one error, or several of one call."""

from __future__ import annotations

import os

from container.cli import logger, output
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


def unexpected(error: Exception) -> int:
    """Say of a fault of this program what to do about it, with `--debug` where it is; the exit code."""
    if logger.debugging():
        import traceback

        logger.debug("".join(traceback.format_exception(error)).rstrip())
    output.error_line(f"Error: the command failed by a fault of this program ({type(error).__name__}); {REPORT_HINT}")
    return 1


def describe(error: OSError) -> str:
    """`<path>: <reason>`."""
    why = os_reason(error)
    return f"{os.fsdecode(error.filename)}: {why}" if isinstance(error.filename, str | bytes) else why
