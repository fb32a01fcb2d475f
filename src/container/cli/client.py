"""Calls to the services of this system, by the synchronous client."""

from __future__ import annotations

from _socket import MSG_NOSIGNAL, socketpair

from container import paths
from container.ipc import quick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

CALL_TIMEOUT = 60.0
LIST_TIMEOUT = 10.0
PING_TIMEOUT = 10.0


def _socket(method: str) -> str:
    interface = method.partition(".")[0]
    service = {"Images": paths.IMAGES, "Supervisor": paths.SUPERVISOR}.get(interface, paths.APISERVER)
    return paths.Roots.from_environment().socket(service)


def watch_signals() -> None:
    """Let signal handlers run as soon as their signal comes, also in the middle of a call. For the main thread."""
    import os
    import signal

    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    quick.wake_on(read_end)


def call(
    method: str,
    parameters: dict[str, Any] | None = None,
    *,
    fds: Sequence[int] = (),
    timeout: float | None = CALL_TIMEOUT,
) -> dict[str, Any]:
    """Call `Interface.Method` of the service that has it; seconds. Raises ContainerError."""
    return quick.call(_socket(method), f"io.container.{method}", given(parameters or {}), fds, timeout)


def stream(method: str, parameters: dict[str, Any], fds: Sequence[int] = ()) -> Iterator[dict[str, Any]]:
    """The replies of a streaming method; closing the iterator hangs up. No deadline. Raises ContainerError."""
    return quick.stream(_socket(method), f"io.container.{method}", given(parameters), fds, None)


class Attachment:
    """A connection to the runtime helper of a process: a call takes one end there by way of the API server."""

    def __init__(self) -> None:
        self._ours, self._theirs = socketpair()
        self.theirs = self._theirs.fileno()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._theirs.close()

    def release(self) -> None:
        """Tell the runtime helper that the streams may flow."""
        try:
            self._ours.send(b"\n", MSG_NOSIGNAL)
        except OSError:
            return  # it has gone: the call tells

    def replies(self, method: str) -> Iterator[dict[str, Any]]:
        """What the helper replied to the call of `method`, from its beginning. Raises ContainerError."""
        self._theirs.close()
        return quick.replies(self._ours, "the runtime helper", f"io.container.{method}")


def given(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that are not None: varlink leaves out what is absent."""
    return {key: value for key, value in parameters.items() if value is not None}


def containers(*, all: bool) -> list[dict[str, Any]]:
    """Containers as `list` shows them."""
    found: list[dict[str, Any]] = call("Containers.List", {"all": all}, timeout=LIST_TIMEOUT)["containers"]
    return found


def networks() -> list[dict[str, Any]]:
    """Networks as `network list` shows them."""
    found: list[dict[str, Any]] = call("Networks.List", timeout=LIST_TIMEOUT)["networks"]
    return found


def volumes() -> list[dict[str, Any]]:
    """Volumes as `volume list` shows them."""
    found: list[dict[str, Any]] = call("Volumes.List", timeout=LIST_TIMEOUT)["volumes"]
    return found


def container(id: str) -> dict[str, Any]:
    """One container. Raises ContainerError(notFound) `get failed: container X not found`."""
    from container.errors import ContainerError, ErrorCode, not_found

    try:
        found: dict[str, Any] = call("Containers.Get", {"id": id})["container"]
    except ContainerError as error:
        if error.code is ErrorCode.NOT_FOUND:
            hint = "`container list --all` shows those that there are"
            raise not_found(f"get failed: container {id} not found; {hint}") from error
        raise
    return found


def ping(timeout: float = PING_TIMEOUT) -> dict[str, Any]:
    """The API server's health. Raises ContainerError."""
    health: dict[str, Any] = call("System.Ping", timeout=timeout)["health"]
    return health


def health(timeout: float = PING_TIMEOUT) -> dict[str, Any] | None:
    """The API server's health, None when it does not answer.

    Raises ContainerError(unauthenticated): who would answer may be another user, which is no system that is down.
    """
    from container.errors import ContainerError, ErrorCode

    try:
        return ping(timeout)
    except ContainerError as error:
        if error.code is ErrorCode.UNAUTHENTICATED:
            raise
        return None
