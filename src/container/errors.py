"""The one error of this system and its closed set of codes.

ContainerError(code, message, cause)
    code     decides what the reader does; nobody reads the text to decide
    message  what was attempted, on what, why it failed, what to do
    cause    the ContainerError below it, if any: follows in the text; `trace` shows the codes as well
"""

import enum
import errno


class ErrorCode(enum.Enum):
    """The codes that cross process boundaries; a code that a peer does not know becomes UNKNOWN."""

    NOT_FOUND = "notFound"
    EXISTS = "exists"
    INVALID_ARGUMENT = "invalidArgument"
    INVALID_STATE = "invalidState"
    UNSUPPORTED = "unsupported"
    UNAUTHENTICATED = "unauthenticated"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    INTERNAL = "internalError"
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, text: str) -> "ErrorCode":
        """The code named by `text`, UNKNOWN when there is none."""
        try:
            return cls(text)
        except ValueError:
            return cls.UNKNOWN


class ContainerError(Exception):
    """An expected failure, ready to be shown to a user."""

    def __init__(self, code: ErrorCode, message: str, cause: "ContainerError | None" = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.cause = cause

    def describe(self) -> str:
        """`message: cause`, nested from the outside in; what the cause says anyway is not said twice."""
        if self.cause is None:
            return self.message
        below = self.cause.describe()
        return below if self.message in below else f"{self.message}: {below}"

    def trace(self) -> str:
        """`message (cause: "code: "message"")`, nested from the outside in: for those who debug."""
        if self.cause is None:
            return self.message
        return f'{self.message} (cause: "{self.cause.code.value}: "{self.cause.trace()}"")'

    def __str__(self) -> str:
        return self.describe()


class ServiceLost(ContainerError):
    """No connection to one of our services, or it broke: made where the connection is, never sent over one."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INTERRUPTED, message)


def not_found(message: str) -> ContainerError:
    """ContainerError(NOT_FOUND)."""
    return ContainerError(ErrorCode.NOT_FOUND, message)


def invalid_argument(message: str) -> ContainerError:
    """ContainerError(INVALID_ARGUMENT)."""
    return ContainerError(ErrorCode.INVALID_ARGUMENT, message)


def invalid_state(message: str) -> ContainerError:
    """ContainerError(INVALID_STATE)."""
    return ContainerError(ErrorCode.INVALID_STATE, message)


def internal(message: str) -> ContainerError:
    """ContainerError(INTERNAL)."""
    return ContainerError(ErrorCode.INTERNAL, message)


def unexpected(what: str) -> ContainerError:
    """A fault of this program in `what`; the caller has logged it with its traceback."""
    return internal(f"{what} failed by a fault of this program; `container system logs` shows it")


_FREE_SPACE = "free some: `container system df` shows what takes it, `container system prune` removes what is unused"
_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EMFILE: "raise the limit of open files (`ulimit -n`) and start the services anew",
    errno.ENFILE: "raise the host's limit of open files (sysctl fs.file-max)",
}


def os_reason(error: OSError) -> str:
    """Why the operating system refused, and what to do where that is known."""
    text = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{text}; {remedy}" if remedy else text
