"""ContainerError on the wire: varlink errors `io.container.Error.<Code>` with `{message, cause}`.

`<Code>` is the code's text with a capital: `notFound` is `io.container.Error.NotFound`. A cause is `{code, message,
cause}`, nested. Errors of `org.varlink.service` are understood too. Imports nothing heavy: the quick client uses it.
"""

from container.errors import ContainerError, ErrorCode, ServiceLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INTERFACE = "io.container.Error"
CAUSES_MAX = 16

_SERVICE_ERRORS = {
    "org.varlink.service.InterfaceNotFound": (ErrorCode.UNSUPPORTED, "the service has no interface {interface}"),
    "org.varlink.service.MethodNotFound": (ErrorCode.UNSUPPORTED, "the service has no method {method}"),
    "org.varlink.service.MethodNotImplemented": (ErrorCode.UNSUPPORTED, "the service does not implement {method}"),
    "org.varlink.service.InvalidParameter": (ErrorCode.INVALID_ARGUMENT, "the parameter {parameter} is invalid"),
    "org.varlink.service.PermissionDenied": (ErrorCode.UNAUTHENTICATED, "the service denies access"),
    "org.varlink.service.ExpectedMore": (ErrorCode.INVALID_ARGUMENT, "the method needs `more`: it is a stream"),
}


def wire_name(code: ErrorCode) -> str:
    """Varlink error name of a code."""
    return f"{INTERFACE}.{code.value[0].upper()}{code.value[1:]}"


def to_wire(error: ContainerError) -> "tuple[str, dict[str, Any]]":
    """Varlink error name and parameters of an error, with its causes."""
    parameters: dict[str, Any] = {"message": error.message}
    if error.cause is not None:
        parameters["cause"] = _cause_to_wire(error.cause, 1)
    return wire_name(error.code), parameters


def _cause_to_wire(error: ContainerError, depth: int) -> "dict[str, Any]":
    cause: dict[str, Any] = {"code": error.code.value, "message": error.message}
    if error.cause is not None and depth < CAUSES_MAX:
        cause["cause"] = _cause_to_wire(error.cause, depth + 1)
    return cause


def from_wire(name: str, parameters: "dict[str, Any]") -> ContainerError:
    """The error that a varlink error reply stands for; whatever is not known becomes UNKNOWN, never an exception."""
    interface, _, short = name.rpartition(".")
    if interface == INTERFACE and short:
        code = ErrorCode.parse(short[0].lower() + short[1:])
        return ContainerError(code, _text(parameters, short), _cause_from_wire(parameters.get("cause"), 1))
    if name in _SERVICE_ERRORS:
        code, text = _SERVICE_ERRORS[name]
        for key, value in parameters.items():
            text = text.replace(f"{{{key}}}", str(value))
        return ContainerError(code, text)
    return ContainerError(ErrorCode.UNKNOWN, f"{name}: {parameters}" if parameters else name)


def _cause_from_wire(data: object, depth: int) -> ContainerError | None:
    if not isinstance(data, dict) or depth > CAUSES_MAX:
        return None
    code = ErrorCode.parse(str(data.get("code")))
    return ContainerError(code, _text(data, code.value), _cause_from_wire(data.get("cause"), depth + 1))


def _text(data: "dict[str, Any]", default: str) -> str:
    message = data.get("message")
    return message if isinstance(message, str) else default


def timed_out(service: str, method: str, seconds: float) -> ContainerError:
    """The error of a deadline that passed; `method` is the full varlink name."""
    short = method.removeprefix("io.container.")
    text = f"request to {service}/{short} timed out after {seconds:g} s; `container system logs` may say why"
    return ContainerError(ErrorCode.TIMEOUT, text)


def not_reachable(service: str, path: str, reason: str) -> ContainerError:
    """The error of a service that does not run."""
    return ServiceLost(f"cannot reach the container services: connection to {service} failed: {path}: {reason}")


def hung_up(service: str, method: str, reason: str = "") -> ContainerError:
    """The error of a connection that ended before the answer came."""
    short = method.removeprefix("io.container.")
    text = f"connection to {service} was lost while {short} was under way"
    return ServiceLost(f"{text}: {reason}" if reason else text)


def bad_reply(service: str, method: str, why: str) -> ContainerError:
    """The error of a peer that does not keep to the protocol."""
    short = method.removeprefix("io.container.")
    return ContainerError(ErrorCode.INTERNAL, f"the answer of {service} to {short} is not understood: {why}")
