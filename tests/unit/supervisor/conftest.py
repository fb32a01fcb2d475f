"""A real supervisor in a run root of its own."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.ipc import quick
from container.linux import pidfd
from container.paths import SUPERVISOR, Roots
from container.supervisor.launch import ensure_running, is_running

# A helper that answers each connection with its pid, then closes it. Arguments: seconds to wait before it accepts.
HELPER = """
import os, socket, sys, time
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1"
time.sleep(float(sys.argv[1]))
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Roots of their own."""
    return Roots(*(str(tmp_path / name) for name in ("app", "run", "install", "log", "config.toml")))


def supervisor_pid(roots: Roots) -> int:
    """Pid of the supervisor that listens on these roots."""
    import socket

    from container.linux.peercred import peer_credentials

    with socket.socket(socket.AF_UNIX) as sock:
        from container.ipc import address

        address.connect(roots.socket(SUPERVISOR), sock.connect)
        return peer_credentials(sock).pid


def wait_gone(pid: int, seconds: float = 10.0) -> None:
    """Wait until a process has ended (or is a zombie of somebody else)."""
    deadline = time.monotonic() + seconds
    while pidfd.start_time(pid) is not None:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def processes_of(roots: Roots) -> list[str]:
    """Every process whose environment or argv names the run root."""
    needle = os.fsencode(roots.run)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) == os.getpid():
            continue
        for part in ("environ", "cmdline"):
            try:
                content = Path(f"/proc/{name}/{part}").read_bytes()
            except OSError:
                continue
            if needle in content and pidfd.start_time(int(name)) is not None:
                found.append(f"{name} {content[:200]!r}")
    return found


@pytest.fixture
def supervisor(roots: Roots) -> Iterator[Roots]:
    """A running supervisor; nothing of it may be left after the test."""
    ensure_running(roots)
    try:
        yield roots
    finally:
        if is_running(roots):
            pid = supervisor_pid(roots)
            quick.call(roots.socket(SUPERVISOR), "io.container.Supervisor.Exit", timeout=60)
            wait_gone(pid)
        left = processes_of(roots)
        for line in left:
            os.kill(int(line.split()[0]), signal.SIGKILL)
        assert left == []


def python_job(script: str, *arguments: str) -> tuple[str, list[str]]:
    """Program and arguments of a job that runs a script."""
    return sys.executable, ["-S", "-c", script, *arguments]
