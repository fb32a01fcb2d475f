"""Starting the supervisor: exactly one, whoever asks."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from container.errors import ContainerError
from container.ipc import quick
from container.linux.process import spawn
from container.paths import SUPERVISOR, Roots
from container.supervisor.launch import apiserver_job, ensure_running, is_running, service_environment

from .conftest import processes_of, supervisor_pid


def test_twenty_racing_launchers_start_one_supervisor(supervisor: Roots) -> None:
    os.kill(supervisor_pid(supervisor), signal.SIGKILL)
    script = (
        "import os; from container.paths import Roots; from container.supervisor.launch import ensure_running\n"
        "ensure_running(Roots.from_environment())"
    )
    environment = {**os.environ, **supervisor.environment()}

    def launch(_: int) -> int:
        return subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(launch, range(20))) == {0}
    assert is_running(supervisor)
    mains = [line for line in processes_of(supervisor) if _is_supervisor(int(line.split()[0]))]
    assert len({line.split()[0] for line in mains}) == 1


def _is_supervisor(pid: int) -> bool:
    return b"container.supervisor.main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_supervisor_has_no_terminal_no_open_files_and_private_directories(supervisor: Roots) -> None:
    quick.call(supervisor.socket(SUPERVISOR), "io.container.Supervisor.List")  # it serves, so its start is through
    pid = supervisor_pid(supervisor)
    assert os.getsid(pid) != os.getsid(0)
    assert os.stat(supervisor.run).st_mode & 0o777 == 0o700
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not any("pipe" in link or "tty" in link or "pts" in link for link in links)


def test_why_it_cannot_start_is_told(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = os.path.dirname(roots.run) + "/file"
    Path(blocked).write_text("")
    with pytest.raises(ContainerError, match=r"failed to start the supervisor in .*/file/run: "):
        ensure_running(Roots(roots.app, f"{blocked}/run", roots.install, roots.log, roots.config))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ContainerError, match=r"ended while it started; see .*io\.container\.supervisor\.log"):
        ensure_running(roots)
    assert not is_running(roots)


def test_the_api_servers_job_is_registered_as_it_is(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    from container.model import codec
    from container.model.job import Job

    monkeypatch.setenv("CONTAINER_DEFAULT_PLATFORM", "linux/arm64")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com")
    monkeypatch.setenv("SECRET", "stays")
    job = codec.decode(Job, apiserver_job(roots, debug=True))
    assert codec.encode(job) == apiserver_job(roots, debug=True)
    assert job.arguments[-2:] == ["start", "--debug"]
    passed = service_environment(roots)
    assert (passed["CONTAINER_RUN_ROOT"], passed["HTTPS_PROXY"]) == (roots.run, "proxy.example.com")
    assert passed["CONTAINER_DEFAULT_PLATFORM"] == "linux/arm64"
    assert "SECRET" not in passed
    assert job.sockets == [f"{roots.run}/io.container.apiserver"]
    assert SUPERVISOR not in job.label


def test_spawn_puts_descriptors_in_place_and_reports_exec_errors(tmp_path: Path) -> None:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    script = 'echo "$LISTEN_PID $$ $A $(ls /proc/self/fd | tr "\\n" " ") $(pwd)" >&7'
    pid = spawn(
        ["/bin/sh", "-c", script],
        {"A": "b", "PATH": os.environ["PATH"]},
        fds={0: null, 1: null, 2: null, 7: write_end},
        listen_pid=True,
    )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        words = pipe.read().split()
    assert os.waitpid(pid, 0)[1] == 0
    assert words[:3] == [str(pid), str(pid), "b"]
    ours, shells = {"0", "1", "2", "7"}, {"3", "4", "5", "6", "10"}
    assert ours <= set(words[3:-1]) <= ours | shells
    assert words[-1] == "/"
    with pytest.raises(FileNotFoundError, match="/nowhere/program"):
        spawn(["/nowhere/program"], {}, fds={0: null})
    os.close(null)
