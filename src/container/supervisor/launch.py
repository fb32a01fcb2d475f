"""Starting the built-in supervisor from a synchronous program, the CLI. Imports next to nothing."""

import fcntl
import os
import sys
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket
from select import POLLIN, poll
from time import monotonic

from container import paths
from container.errors import ContainerError, ErrorCode, os_reason
from container.ipc import address
from container.supervisor.servicelog import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from container.paths import Roots

LAUNCH_LOCK = "launch.lock"
_READY_SECONDS = 60.0
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def service_environment(roots: "Roots") -> dict[str, str]:
    """What a service gets of the caller's environment (contract 1.13): CONTAINER_* and the proxy variables."""
    passed = {
        key: value for key, value in os.environ.items() if key.startswith("CONTAINER_") or key.lower() in _PROXIES
    }
    return {**passed, **roots.environment()}


def apiserver_job(roots: "Roots", debug: bool = False) -> "dict[str, Any]":
    """The API server's job in the JSON that `io.container.Supervisor.Register` takes."""
    return {
        "label": paths.APISERVER,
        "program": sys.executable,
        "arguments": ["-P", "-m", "container.apiserver.main", "start", *(["--debug"] if debug else [])],
        "environment": service_environment(roots),
        "sockets": [roots.socket(paths.APISERVER)],
        "keepAlive": True,
        "runAtLoad": True,
        "throttle": 1.0,
        "stopTimeout": 20.0,
        "logPath": os.path.join(roots.log, f"{paths.APISERVER}.log"),
    }


def is_running(roots: "Roots") -> bool:
    """Whether the supervisor's socket takes a connection."""
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        address.connect_service(roots.socket(paths.SUPERVISOR), sock)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    finally:
        sock.close()
    return True


def ensure_running(roots: "Roots") -> None:
    """Start the supervisor in the background unless it runs; returns when it takes connections.

    Several callers at once start one. Raises ContainerError(internal) with what the supervisor said when it cannot
    start, ContainerError(timeout), ContainerError(internal) when the run root is not usable.
    """
    try:
        address.make_run_root(roots.run)
        if is_running(roots):
            return
        lock = os.open(os.path.join(roots.run, LAUNCH_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_running(roots):
                _launch(roots)
        finally:
            os.close(lock)
    except OSError as error:
        text = f"failed to start the supervisor in {roots.run}: {error.filename or roots.run}: {os_reason(error)}"
        raise ContainerError(ErrorCode.INTERNAL, text) from error


def _launch(roots: "Roots") -> None:
    log = os.path.join(roots.log, f"{paths.SUPERVISOR}.log")
    log_fd = open_log(log)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            os.set_inheritable(write_end, True)
            argv = [sys.executable, "-P", "-m", "container.supervisor.main", "--daemon", "--ready", str(write_end)]
            pid = os.posix_spawn(
                sys.executable,
                argv,
                {**os.environ, **roots.environment()},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log_fd, 1),
                    (os.POSIX_SPAWN_DUP2, log_fd, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(write_end)
            os.close(log_fd)
        os.waitpid(pid, 0)
        _wait_ready(read_end, log)
    finally:
        os.close(read_end)


def _wait_ready(pipe: int, log: str) -> None:
    """Wait for the line on the pipe; anything else in it, or its end, is a failure."""
    deadline = monotonic() + _READY_SECONDS
    waiter = poll()
    waiter.register(pipe, POLLIN)
    said = b""
    while not said.endswith(b"ready\n"):
        if not waiter.poll(max(0.0, deadline - monotonic()) * 1000):
            raise ContainerError(
                ErrorCode.TIMEOUT, f"the supervisor did not start within {_READY_SECONDS:g} s; see {log}"
            )
        data = os.read(pipe, 4096)
        if not data:
            text = said.decode(errors="replace") or f"the supervisor ended while it started; see {log}"
            raise ContainerError(ErrorCode.INTERNAL, text)
        said += data
