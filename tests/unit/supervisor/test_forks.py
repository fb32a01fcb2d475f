"""Services that are forks of a process which has their module imported."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from container.linux import pidfd
from container.model.job import Job, JobState
from container.paths import Roots
from container.supervisor.builtin import BuiltinSupervisor

from .conftest import processes_of, supervisor_pid, wait_gone
from .test_supervisor import ask, status, until

SERVER = "container.supervisor.forkserver"
MODULE = """
import json, os, signal, socket, sys
IMPORTED_BY = os.getpid()
def main():
    assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1"
    assert sys.argv[1:2] == ["start"] and os.getcwd() == "/" and os.getsid(0) == os.getpid()
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    print("forked" if IMPORTED_BY != os.getpid() else "executed", os.environ["MARK"], flush=True)
    listener = socket.socket(fileno=3)
    while True:
        connection, _ = listener.accept()
        connection.sendall(str(os.getpid()).encode())
        connection.close()
        if sys.argv[2] == "once":
            sys.exit(int(sys.argv[3]))
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Where a module `served` is."""
    (tmp_path / "served.py").write_text(MODULE)
    return tmp_path


def served(roots: Roots, module: Path, label: str, *arguments: str) -> Job:
    """A job that runs the module."""
    return Job(
        label,
        sys.executable,
        ["-m", "served", "start", *(arguments or ("on",))],
        {"RUN": roots.run, "PYTHONPATH": os.pathsep.join([str(module), *sys.path]), "MARK": label},
        sockets=[roots.socket(label)],
        log_path=os.path.join(roots.log, f"{label}.log"),
        module="served",
    )


def said(roots: Roots, label: str) -> str:
    return Path(roots.log, f"{label}.log").read_text()


async def warm(roots: Roots, module: Path) -> BuiltinSupervisor:
    """A supervisor whose fork server is ready."""
    backend = BuiltinSupervisor(roots)
    await backend.register(served(roots, module, "first"))
    await ask(roots, "first")
    assert said(roots, "first") == "executed first\n"
    async with asyncio.timeout(20):
        for number in range(100):
            label = f"try{number}"
            await backend.register(served(roots, module, label))
            await ask(roots, label)
            if said(roots, label).startswith("forked"):
                return backend
            await asyncio.sleep(0.1)
    raise AssertionError("no fork server got ready")


async def test_a_fork_looks_and_behaves_like_a_service_that_was_executed(supervisor: Roots, module: Path) -> None:
    backend = await warm(supervisor, module)
    wanted = served(supervisor, module, "second")
    await backend.register(wanted)
    pid = await ask(supervisor, "second")
    assert said(supervisor, "second") == "forked second\n"
    assert (await status(backend, "second")).pid == pid
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
    assert words == [wanted.program, *wanted.arguments]
    assert f"PPid:\t{supervisor_pid(supervisor)}\n" in Path(f"/proc/{pid}/status").read_text()
    await backend.stop("second")
    assert (await status(backend, "second")).exit_status == -signal.SIGTERM
    assert await ask(supervisor, "second") not in (0, pid)


@pytest.mark.parametrize("code", [0, 7])
async def test_the_exit_code_of_a_fork_is_known(supervisor: Roots, module: Path, code: int) -> None:
    backend = await warm(supervisor, module)
    await backend.register(served(supervisor, module, "brief", "once", str(code)))
    await ask(supervisor, "brief")
    ended = await until(backend, "brief", lambda found: found.state is not JobState.RUNNING)
    assert ended.exit_status == code


async def test_a_fork_server_that_was_killed_is_replaced(supervisor: Roots, module: Path) -> None:
    backend = await warm(supervisor, module)
    pids = [int(line.split()[0]) for line in processes_of(supervisor)]
    (server,) = (pid for pid in pids if SERVER in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(server, signal.SIGKILL)
    wait_gone(server)
    await backend.register(served(supervisor, module, "second"))
    assert await ask(supervisor, "second") != 0
    assert said(supervisor, "second") == "executed second\n"


async def test_forks_end_with_a_supervisor_that_is_killed(supervisor: Roots, module: Path) -> None:
    backend = await warm(supervisor, module)
    await backend.register(served(supervisor, module, "second"))
    pid = await ask(supervisor, "second")
    os.kill(supervisor_pid(supervisor), signal.SIGKILL)
    wait_gone(pid)
    async with asyncio.timeout(5):
        while processes_of(supervisor):
            await asyncio.sleep(0.02)


async def test_a_module_that_cannot_be_imported_keeps_no_service_from_starting(supervisor: Roots, module: Path) -> None:
    (module / "served.py").write_text(f"import sys\nif sys.argv[0] == '-m': raise OSError('no')\n{MODULE}")
    backend = BuiltinSupervisor(supervisor)
    for number in range(5):
        label = f"helper{number}"
        await backend.register(served(supervisor, module, label))
        pid = await ask(supervisor, label)
        assert pidfd.start_time(pid) is not None
        await asyncio.sleep(0.2)
