"""`run`, `create`, `start` and `exec`: streams, signals, exit codes and clean-up, against canned services."""

import fcntl
import json
import os
import pty
import queue
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import FakeSystem, Reject, snapshot

STARTED = {"event": {"started": True, "process": "web"}}


class Process:
    """The server's side of an attached process: says `started`, then ends with the code it is told."""

    def __init__(self, system: FakeSystem, method: str = "Containers.Start") -> None:
        self.started = threading.Event()
        self.end: queue.Queue[int] = queue.Queue()
        self.signals: queue.Queue[str] = queue.Queue()
        self.sizes: queue.Queue[tuple[int, int]] = queue.Queue()
        self.parameters: dict[str, Any] = {}
        system.answers[method] = self._start
        system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
        system.answers["Containers.Signal"] = self._signal
        system.answers["Containers.Resize"] = self._resize

    def _start(self, parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        self.parameters = parameters
        yield {"now": STARTED}
        self.started.set()
        yield {"event": {"exitCode": self.end.get(timeout=20)}}

    def _signal(self, parameters: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        assert parameters["process"] == "web"
        self.signals.put(parameters["signal"])
        return {}

    def _resize(self, parameters: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        self.sizes.put((parameters["size"]["columns"], parameters["size"]["rows"]))
        return {}


def _wait_until_caught(pid: int, number: signal.Signals) -> None:
    """Wait until a process has a handler for a signal (proc(5), SigCgt)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught, 16) >> (number - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} does not catch {number}")


def _methods(system: FakeSystem) -> list[str]:
    return [method for method, _ in system.calls]


def test_run_gives_its_own_streams_and_the_exit_code(system: FakeSystem) -> None:
    def start(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        os.write(fds[parameters["stdout"]], os.read(fds[parameters["stdin"]], 100).upper())
        os.write(fds[parameters["stderr"]], b"to stderr")
        yield STARTED
        yield {"event": {"exitCode": 7}}

    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = start
    result = system.run("run", "-i", "--name", "web", "alpine", "cat", "-n", input="hello")
    assert (result.stdout, result.stderr, result.returncode) == ("HELLO", "to stderr", 7)
    created = system.calls[0][1]["request"]
    assert (created["id"], created["process"]["arguments"]) == ("web", ["cat", "-n"])
    assert system.calls[1][1] == {"id": "web", "wait": True, "stdin": 0, "stdout": 1, "stderr": 2, "attachment": 3}


def test_without_interactive_there_is_no_input(system: FakeSystem) -> None:
    process = Process(system)
    process.end.put(0)
    assert system.run("run", "alpine").returncode == 0
    assert process.parameters == {"id": "web", "wait": True, "stdout": 0, "stderr": 1, "attachment": 2}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nobodys(system: FakeSystem, closed: str) -> None:
    def start(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        passed = [fds[parameters[name]] for name in ("stdin", "stdout", "stderr")]
        kinds.extend(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0] for fd in passed)
        yield STARTED
        yield {"event": {"exitCode": 7}}

    kinds: list[str] = []
    system.answers["Containers.Exec"] = start
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *system.command("exec", "-i", "web", "cat")]
    result = subprocess.run(command, env=system.environment, capture_output=True, input=b"", timeout=30, check=False)
    assert result.returncode == 7
    assert kinds == ["/dev/null" if word in closed.split() else "pipe" for word in ("<&-", ">&-", "2>&-")]


def test_a_detached_run_prints_the_id(system: FakeSystem, tmp_path: Path) -> None:
    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = [STARTED]
    cidfile = tmp_path / "cid"
    result = system.run("run", "-dit", "--cidfile", str(cidfile), "--progress", "none", "alpine")
    assert (result.stdout, result.stderr, result.returncode) == ("web\n", "", 0)
    assert system.calls[1] == ("Containers.Start", {"id": "web", "wait": False})
    assert cidfile.read_text() == "web"
    assert cidfile.stat().st_mode & 0o777 == 0o644


def test_a_failed_start_deletes_the_record(system: FakeSystem) -> None:
    def fail(parameters: dict[str, Any], fds: list[int]) -> Any:
        raise Reject("internalError", "port 80 is taken")

    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = fail
    result = system.run("run", "-d", "alpine")
    assert (result.stdout, result.stderr, result.returncode) == ("", "Error: port 80 is taken\n", 1)
    assert system.calls[-1] == ("Containers.Delete", {"id": "web", "force": True})


@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_cidfile_that_cannot_be_written_is_a_failure(system: FakeSystem, verb: str) -> None:
    process = Process(system)
    process.end.put(0)
    result = system.run(verb, "--cidfile", "/no/such/cid", "alpine")
    assert result.stderr == "Error: failed to create cidfile at /no/such/cid: No such file or directory\n"
    assert _methods(system)[-1] == "Containers.Delete"


def test_a_name_that_is_taken(system: FakeSystem) -> None:
    def fail(parameters: dict[str, Any], fds: list[int]) -> Any:
        raise Reject("exists", "container already exists: web")

    system.answers["Containers.Create"] = fail
    result = system.run("run", "--name", "web", "alpine")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: container with id web already exists; choose another --name")
    assert _methods(system) == ["Containers.Create"]


def test_a_lost_service_is_told_and_the_container_is_kept(system: FakeSystem) -> None:
    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = [STARTED]
    result = system.run("run", "alpine")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: lost the process of container web")
    assert "Containers.Delete" not in _methods(system)


def test_the_reason_of_an_end_by_force_is_told(system: FakeSystem) -> None:
    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = [STARTED, {"event": {"exitCode": 137, "reason": "the share failed"}}]
    result = system.run("run", "alpine")
    assert (result.stdout, result.stderr, result.returncode) == ("", "Error: the share failed\n", 137)


class Helper:
    """The runtime helper's end of an attachment, once the API server has passed it on and gone."""

    def __init__(self, system: FakeSystem) -> None:
        self._passed: queue.Queue[int] = queue.Queue()
        self.signals: queue.Queue[str] = queue.Queue()
        system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
        system.answers["Containers.Start"] = system.answers["Containers.Exec"] = self._start
        system.answers["Containers.Signal"] = lambda parameters, fds: self.signals.put(parameters["signal"]) or {}

    def _start(self, parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        self._passed.put(os.dup(fds[parameters["attachment"]]))
        yield {"now": STARTED}
        raise OSError("killed")

    def connect(self) -> socket.socket:
        return socket.socket(fileno=self._passed.get(timeout=20))


def _say(connection: socket.socket, event: dict[str, Any] | None = None) -> None:
    message = {"parameters": {}} if event is None else {"parameters": {"event": event}, "continues": True}
    connection.sendall(json.dumps(message).encode() + b"\0")


@pytest.mark.parametrize("words", [("run", "alpine"), ("exec", "web", "true")])
def test_a_process_outlives_the_api_server(system: FakeSystem, words: tuple[str, ...]) -> None:
    helper = Helper(system)
    command = subprocess.Popen(system.command(*words), env=system.environment, stderr=subprocess.PIPE, text=True)
    with helper.connect() as connection:
        _say(connection, {"started": True, "process": "web"})
        _wait_until_caught(command.pid, signal.SIGWINCH)
        command.send_signal(signal.SIGTERM)
        assert helper.signals.get(timeout=20) == "15"
        _say(connection, {"exitCode": 7, "reason": "the share failed"})
        _say(connection)
    assert command.communicate(timeout=20) == (None, "Error: the share failed\n")
    assert command.returncode == 7
    assert "Containers.Delete" not in _methods(system)
    assert system.calls[-1] == ("Containers.Wait", {"id": "web"})


def test_a_process_that_is_lost_with_everything_is_told(system: FakeSystem) -> None:
    helper = Helper(system)
    command = subprocess.Popen(
        system.command("run", "alpine"), env=system.environment, stderr=subprocess.PIPE, text=True
    )
    helper.connect().close()
    error = "Error: lost the process of container web: its runtime helper ended before it did\n"
    assert command.communicate(timeout=20) == (None, error)
    assert command.returncode == 1
    assert _methods(system)[-1] == "Containers.Wait"


def test_create_prints_the_id(system: FakeSystem) -> None:
    system.answers["Containers.Create"] = [
        {"event": {"progress": {"description": "Unpacking image"}}},
        {"event": {"id": "web"}},
    ]
    result = system.run("create", "--rm", "alpine", "sleep", "5")
    assert (result.stdout, result.stderr, result.returncode) == ("web\n", "", 0)


def test_plain_progress_goes_to_standard_error(system: FakeSystem) -> None:
    event = {"description": "Unpacking image"}
    system.answers["Containers.Create"] = [{"event": {"progress": event}}, {"event": {"id": "web"}}]
    system.answers["Containers.Start"] = [STARTED]
    assert system.run("run", "--progress", "plain", "-d", "alpine").stderr == "[2/6] Unpacking image [0s]\n"


@pytest.mark.parametrize(("first", "shown"), [("Fetching image", True), ("Unpacking image", False)])
def test_without_a_terminal_run_shows_progress_when_something_is_fetched(
    system: FakeSystem, first: str, shown: bool
) -> None:
    def create(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        yield {"now": {"event": {"progress": {"description": first}}}}
        time.sleep(0.5)
        yield {"now": {"event": {"progress": {"description": "Unpacking image"}}}}
        yield {"event": {"id": "web"}}

    system.answers["Containers.Create"] = create
    system.answers["Containers.Start"] = [{"event": {"progress": {"description": "Starting container"}}}, STARTED]
    lines = system.run("run", "-d", "alpine").stderr.splitlines()
    assert [line.partition(" [")[0] for line in lines] == (
        ["[2/6] Unpacking image", "[6/6] Starting container"] if shown else []
    )


@pytest.mark.parametrize(("terminal", "progress"), [(True, "auto"), (True, "none"), (False, "auto")])
def test_a_notice_is_for_a_terminal_that_shows_progress(system: FakeSystem, terminal: bool, progress: str) -> None:
    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = [{"event": {"notice": "Mind the gap"}}, STARTED]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    command = system.command("run", "-d", "--progress", progress, "alpine")
    result = subprocess.run(command, env=system.environment, stdout=subprocess.PIPE, stderr=theirs, timeout=30)
    assert (result.stdout, result.returncode) == (b"web\n", 0)
    asked = system.calls[1][1].get("notices")
    assert asked == (True if terminal and progress == "auto" else None)
    assert b"Mind the gap" in os.read(ours, 4096)  # whoever asks not, is told nothing by a real system
    os.close(ours)
    os.close(theirs)


def test_signals_reach_the_process_and_the_third_interrupt_ends_the_cli(system: FakeSystem) -> None:
    process = Process(system)
    command = subprocess.Popen(system.command("run", "alpine"), env=system.environment, stderr=subprocess.PIPE)
    assert process.started.wait(20)
    _wait_until_caught(command.pid, signal.SIGWINCH)
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
        command.send_signal(number)
        assert process.signals.get(timeout=20) == str(int(number))
    command.send_signal(signal.SIGINT)
    assert command.wait(20) == 1
    process.end.put(0)  # the server has a copy of the pipe
    assert command.communicate(timeout=20)[1] == b"Received 3 SIGINT/SIGTERM's, forcefully exiting.\n"
    assert "Containers.Delete" not in _methods(system)


def test_an_interrupt_before_the_process_runs_removes_the_container(system: FakeSystem) -> None:
    booting, release = threading.Event(), threading.Event()

    def boot(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        yield {"now": {"event": {"progress": {"description": "Starting container"}}}}
        booting.set()
        release.wait(20)
        yield STARTED

    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = boot
    command = subprocess.Popen(
        system.command("run", "--progress=none", "alpine"), env=system.environment, stderr=subprocess.PIPE
    )
    assert booting.wait(20)
    command.send_signal(signal.SIGINT)
    assert command.wait(20) == 130
    release.set()
    assert command.communicate(timeout=20)[1] == b""
    assert system.calls[-1] == ("Containers.Delete", {"id": "web", "force": True})


def test_exec_passes_its_words_through(system: FakeSystem) -> None:
    process = Process(system, "Containers.Exec")
    process.end.put(3)
    result = system.run("exec", "-e", "A=1", "-u", "app", "-w", "/srv", "web", "ls", "--help")
    assert result.returncode == 3
    assert process.parameters["process"] == {
        "arguments": ["ls", "--help"],
        "environment": ["A=1"],
        "terminal": False,
        "interactive": False,
        "rlimits": [],
        "workingDirectory": "/srv",
        "user": "app",
    }
    assert system.run("exec", "web").returncode == 64


def test_a_detached_exec_prints_the_container(system: FakeSystem) -> None:
    system.answers["Containers.Exec"] = [{"event": {"started": True, "process": "exec-1"}}]
    system.answers["Containers.Get"] = {"container": snapshot("0badcafe-full")}
    assert system.run("exec", "-d", "0bad", "sleep", "9").stdout == "0badcafe-full\n"
    assert system.calls[-1][1]["id"] == "0badcafe-full"


def test_exec_in_an_unknown_container(system: FakeSystem) -> None:
    def unknown(parameters: dict[str, Any], fds: list[int]) -> Any:
        raise Reject("notFound", "container with ID web not found")

    system.answers.update({"Containers.Exec": unknown, "Containers.Get": unknown})
    assert "Error: get failed: container web not found;" in system.run("exec", "web", "true").stderr
    system.answers["Containers.Get"] = {"container": snapshot()}
    assert system.run("exec", "web", "true").stderr == "Error: container with ID web not found\n"


def test_start(system: FakeSystem) -> None:
    system.answers["Containers.Get"] = {"container": snapshot(state="stopped")}
    system.answers["Containers.Start"] = [STARTED]
    assert system.run("start", "web").stdout == "web\n"
    assert system.calls[-1] == ("Containers.Start", {"id": "web", "wait": False})
    process = Process(system)
    process.end.put(4)
    attached = system.run("start", "-a", "web")
    assert (attached.stdout, attached.returncode) == ("", 4)
    assert process.parameters == {"id": "web", "wait": True, "stdout": 0, "stderr": 1, "attachment": 2}


def test_start_of_a_running_container(system: FakeSystem) -> None:
    system.answers["Containers.Get"] = {"container": snapshot()}
    assert system.run("start", "web").stdout == "web\n"
    assert _methods(system) == ["Containers.Get"]
    refused = system.run("start", "-a", "web")
    assert "attach is currently unsupported on already running containers" in refused.stderr
    assert refused.returncode == 1


def test_a_terminal_needs_a_terminal(system: FakeSystem) -> None:
    result = system.run("run", "-it", "alpine")
    assert result.returncode == 1
    assert "the input device is not a TTY; leave out --tty" in result.stderr
    assert system.calls == []


class Screen:
    """A pseudo-terminal of 100 by 30 with the CLI on it."""

    def __init__(self, system: FakeSystem, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(100, 30)
        self.before = termios.tcgetattr(self.slave)
        self.command = subprocess.Popen(
            system.command(*words), env=system.environment, stdin=self.slave, stdout=self.slave, stderr=self.slave
        )

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def local_modes(self) -> int:
        return int(termios.tcgetattr(self.slave)[3])

    def close(self) -> None:
        self.command.kill()
        self.command.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def attached(system: FakeSystem) -> Iterator[tuple[Process, Screen]]:
    """`run -it`, with the process running and the first window size seen."""
    process = Process(system)
    screen = Screen(system, "run", "-it", "alpine")
    assert process.started.wait(20)
    assert process.sizes.get(timeout=20) == (100, 30)
    yield process, screen
    process.end.put(0)
    screen.close()


def test_a_terminal_is_raw_while_attached_and_restored_after(attached: tuple[Process, Screen]) -> None:
    process, screen = attached
    streams = {"stdin": 0, "stdout": 1, "attachment": 2}
    assert process.parameters == {"id": "web", "wait": True, "notices": True, **streams}
    assert not screen.local_modes() & (termios.ECHO | termios.ICANON | termios.ISIG)
    process.end.put(5)
    assert screen.command.wait(20) == 5
    assert termios.tcgetattr(screen.slave) == screen.before


def test_the_window_size_follows(attached: tuple[Process, Screen]) -> None:
    process, screen = attached
    screen.resize(120, 40)
    screen.command.send_signal(signal.SIGWINCH)
    assert process.sizes.get(timeout=20) == (120, 40)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_signals_that_end_the_cli_restore_the_terminal(
    attached: tuple[Process, Screen], number: signal.Signals
) -> None:
    _, screen = attached
    screen.command.send_signal(number)
    assert screen.command.wait(20) == 128 + number
    assert termios.tcgetattr(screen.slave) == screen.before


def test_with_a_terminal_interrupts_never_end_the_cli(attached: tuple[Process, Screen]) -> None:
    process, screen = attached
    for _ in range(4):
        screen.command.send_signal(signal.SIGTERM)
        assert process.signals.get(timeout=20) == "15"
    process.end.put(143)
    assert screen.command.wait(20) == 143


def test_the_terminal_is_raw_before_the_process_may_write(system: FakeSystem) -> None:
    def start(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        with socket.socket(fileno=os.dup(fds[parameters["attachment"]])) as attachment:
            yield {"now": {"event": {"ready": True}}}
            attachment.settimeout(20)
            assert attachment.recv(100)
            os.write(fds[parameters["stdout"]], b"a\r\nb\r\n")
        yield STARTED
        yield {"event": {"exitCode": 0}}

    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = start
    screen = Screen(system, "run", "-it", "alpine")
    assert screen.command.wait(20) == 0
    assert os.read(screen.master, 100) == b"a\r\nb\r\n"
    screen.close()


def test_a_cli_whose_output_nobody_reads_leaves_when_the_process_does_not_end(system: FakeSystem) -> None:
    process = Process(system)
    read_end, write_end = os.pipe()
    command = subprocess.Popen(
        system.command("run", "alpine"), env=system.environment, stdout=write_end, stderr=subprocess.PIPE
    )
    os.close(write_end)
    assert process.started.wait(20)
    os.close(read_end)
    assert command.wait(30) == 141
    process.end.put(0)
    assert command.communicate(timeout=20)[1] == b""
    assert "Containers.Delete" not in _methods(system)


def test_the_code_of_a_process_that_ends_when_nobody_reads_its_output(system: FakeSystem) -> None:
    process = Process(system)
    read_end, write_end = os.pipe()
    command = subprocess.Popen(system.command("run", "alpine"), env=system.environment, stdout=write_end)
    os.close(write_end)
    assert process.started.wait(20)
    os.close(read_end)
    _wait_until_caught(command.pid, signal.SIGPIPE)
    process.end.put(3)
    assert command.wait(20) == 3


def test_a_descriptor_that_the_relay_made_non_blocking_blocks_again(system: FakeSystem) -> None:
    def start(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        os.set_blocking(fds[parameters["stdout"]], False)
        yield STARTED
        yield {"event": {"exitCode": 0}}

    system.answers["Containers.Create"] = [{"event": {"id": "web"}}]
    system.answers["Containers.Start"] = start
    read_end, write_end = os.pipe()
    command = subprocess.run(
        system.command("run", "alpine"), env=system.environment, stdout=write_end, check=False, timeout=20
    )
    assert command.returncode == 0
    assert os.get_blocking(write_end)
    os.close(read_end)
    os.close(write_end)
