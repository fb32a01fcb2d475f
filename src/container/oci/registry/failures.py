"""What goes wrong with registries, as ContainerError: the contract's texts (2.5), one code a cause.

unauthenticated  401, 403           notFound      404
interrupted      no connection, or it broke; 429  timeout  silence
internalError    any other answer
"""

import json
from http import HTTPStatus

from container.errors import ContainerError, ErrorCode

_CODES = {
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.UNAUTHENTICATED,
    404: ErrorCode.NOT_FOUND,
    429: ErrorCode.INTERRUPTED,
}
_MAX_REASON = 400


def refused(url: str, status: int, body: bytes, host_without_credentials: str | None = None) -> ContainerError:
    """A response that is not the one that was asked for. The query of a URL is not shown: it may carry a signature."""
    shown = url.partition("?")[0]
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    text = f"HTTP request to {shown} failed with response: {phrase}. Reason: {_reason(body)}"
    if host_without_credentials is not None:
        text += f", no credentials found for host {host_without_credentials}"
        text += f"; `container registry login {host_without_credentials}` stores some"
    return ContainerError(_CODES.get(status, ErrorCode.INTERNAL), text)


def later(refusal: ContainerError, wait: float | None) -> ContainerError:
    """A refusal with the time that the registry asks to wait, if it does."""
    if wait is None:
        return refusal
    return ContainerError(refusal.code, f"{refusal.message} (it says to try again in {wait:.0f} seconds)")


def unreachable(scheme: str, host: str, reason: str) -> ContainerError:
    """No connection, or it broke."""
    return ContainerError(ErrorCode.INTERRUPTED, f"connection to registry {host} over {scheme} failed: {reason}")


def silent(scheme: str, host: str, seconds: float) -> ContainerError:
    """The registry says nothing."""
    return ContainerError(
        ErrorCode.TIMEOUT, f"connection to registry {host} over {scheme} failed: no data for {seconds:g} seconds"
    )


def _reason(body: bytes) -> str:
    """The errors of a response in the distribution specification's form, else its text."""
    try:
        document = json.loads(body)
        parts = [
            ": ".join(str(item[key]) for key in ("code", "message") if item.get(key)) for item in document["errors"]
        ]
        text = "; ".join(part for part in parts if part)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        text = ""
    if not text:
        text = body.decode(errors="replace").strip()
        if text.startswith("<"):  # a proxy's page
            text = ""
    return " ".join(text.split())[:_MAX_REASON] or "Unknown"
