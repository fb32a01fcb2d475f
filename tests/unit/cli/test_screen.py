"""Progress on a real terminal: what is on the screen, during and after each command that shows any."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

from .conftest import FakeSystem, Reject, snapshot

COLUMNS, ROWS = 120, 12
LAYERS = [
    {"name": str(number) * 12, "state": "downloading", "bytes": number << 20, "totalBytes": 40 << 20}
    for number in range(1, 5)
]


class Terminal:
    """A pseudo-terminal with the CLI on it and an emulator behind it; `seen` is every state of the screen."""

    def __init__(self, system: FakeSystem, *words: str, **environment: str) -> None:
        self.master, slave = pty.openpty()
        self.emulator = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.emulator)
        self.seen: list[str] = []
        self.bytes = b""
        self.resize(COLUMNS, ROWS)
        os.write(slave, b"before\n")
        self.command = subprocess.Popen(
            system.command(*words),
            env={**system.environment, "TERM": "xterm", **environment},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        """Change the window's size; the emulator cuts what does not fit, as xterm does."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.emulator.resize(rows, columns)

    def screen(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.emulator.display).rstrip()

    def _take(self, timeout: float) -> bool:
        """Show what comes within `timeout` seconds; whether more may come."""
        if not select.select([self.master], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.bytes += data
        self._stream.feed(data)
        self.seen.append(self.screen())
        return True

    def wait_for(self, text: str) -> str:
        """Read until `text` is on the screen."""
        deadline = time.monotonic() + 20
        while text not in self.screen():
            assert self._take(1), f"ended: {self.screen()}"
            assert time.monotonic() < deadline, f"no {text!r} on: {self.screen()}"
        return self.screen()

    def end(self) -> int:
        """Read to the end; the exit code. The cursor was visible all the time."""
        while self._take(20):
            assert b"\x1b[?25l" not in self.bytes
        assert not self.emulator.cursor.hidden
        return self.command.wait(20)

    def close(self) -> None:
        """End everything."""
        self.command.kill()
        self.command.wait()
        os.close(self.master)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(system: FakeSystem) -> Iterator[Open]:
    """Opens a terminal with a command on it."""
    with contextlib.ExitStack() as stack:

        def open_terminal(*words: str, **environment: str) -> Terminal:
            opened = Terminal(system, *words, **environment)
            stack.callback(opened.close)
            return opened

        yield open_terminal


class Task:
    """A server's task: reports `event`, and goes on when it is told."""

    def __init__(self, event: dict[str, Any], last: dict[str, Any] | None, wrap: bool = True) -> None:
        self._event = {"event": {"progress": event}} if wrap else {"progress": event}
        self._last = last
        self.begun, self.go = threading.Event(), threading.Event()
        self.error: Reject | None = None

    def __call__(self, parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        yield {"now": self._event}
        self.begun.set()
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        if self._last is not None:
            yield {"event": self._last}


def _write_then_end(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
    """A container that starts slowly and writes as soon as its caller is ready."""
    yield {"now": {"event": {"progress": {"description": "Starting container"}}}}
    time.sleep(0.8)
    yield {"now": {"event": {"ready": True}}}
    if "attachment" in parameters:
        assert os.read(fds[parameters["attachment"]], 100)
        os.write(fds[parameters["stdout"]], b"output\r\n")
    yield {"now": {"event": {"started": True, "process": "web"}}}
    yield {"event": {"exitCode": 0}}


REFERENCES = {"references": ["docker.io/library/a:1"]}
NOTE = f"docker.io/library/a:1@sha256:{'5' * 64}"
IMAGE = {"image": {"id": "5" * 64, "configuration": {}, "variants": []}}
FETCHING = {"description": "Fetching image", "parts": LAYERS}
COMMANDS = {
    "run": (["run", "a:1"], "Containers.Create", FETCHING, {"id": "web"}, "output"),
    "run -it": (["run", "-it", "a:1"], "Containers.Create", FETCHING, {"id": "web"}, "output"),
    "run -d": (["run", "-d", "a:1"], "Containers.Create", FETCHING, {"id": "web"}, "web"),
    "create": (["create", "a:1"], "Containers.Create", FETCHING, {"id": "web"}, "web"),
    "pull": (["image", "pull", "a:1"], "Images.Pull", FETCHING, REFERENCES, NOTE),
    "push": (["image", "push", "a:1"], "Images.Push", FETCHING, REFERENCES, REFERENCES["references"][0]),
    "load": (["image", "load", "-i", "a"], "Images.Load", FETCHING, REFERENCES, REFERENCES["references"][0]),
    "save": (["image", "save", "-o", "a", "a:1"], "Images.Save", FETCHING, {}, "a:1"),
    "commit": (["commit", "web", "a:1"], "Files.Commit", FETCHING, REFERENCES, REFERENCES["references"][0]),
    "kernel set": (["system", "kernel", "set", "--binary", "a"], "System.SetKernel", FETCHING, None, ""),
}


@pytest.fixture
def serve(
    system: FakeSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[list[str], Task, str]]:
    """Has the services ready for a command: its words, its task, and what is on the screen after it."""

    def ready(name: str) -> tuple[list[str], Task, str]:
        words, method, event, last, end = COMMANDS[name]
        task = Task(event, last, wrap=method != "System.SetKernel")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a").touch()
        system.answers.update({"Containers.Start": _write_then_end, "Images.Get": IMAGE, method: task})
        system.answers["Containers.Delete"] = {}
        return words, task, end

    return ready


@pytest.mark.parametrize("name", COMMANDS)
def test_progress_is_gone_before_anything_else_is_written(serve: Any, terminal: Open, name: str) -> None:
    words, task, end = serve(name)
    opened = terminal(*words)
    opened.wait_for("Fetching image")
    opened.wait_for("444444444444")
    for columns in (50, 100):
        opened.wait_for("⠋")
        opened.resize(columns, ROWS)
        assert max(map(len, opened.wait_for("⠏").splitlines())) < columns
    task.go.set()
    assert opened.end() == 0
    assert opened.screen() == f"before\n{end}".rstrip()
    assert b"\x1b[3" not in opened.bytes, "colours are for --progress color"


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_done_at_once_is_not_shown(serve: Any, terminal: Open, name: str) -> None:
    words, task, end = serve(name)
    task.go.set()
    opened = terminal(*words)
    assert opened.end() == 0
    assert opened.screen() == f"before\n{end}".rstrip()
    assert not any("Fetching" in screen for screen in opened.seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("name", ["run -it", "pull"])
def test_a_signal_leaves_a_clean_screen(serve: Any, terminal: Open, name: str, number: signal.Signals) -> None:
    words, task, _ = serve(name)
    opened = terminal(*words)
    opened.wait_for("444444444444")
    opened.command.send_signal(number)
    assert opened.end() == 128 + number
    assert opened.screen() == "before"
    task.go.set()


@pytest.mark.parametrize("name", COMMANDS)
def test_an_error_has_the_screen_for_itself(serve: Any, terminal: Open, name: str) -> None:
    words, task, _ = serve(name)
    task.error = Reject("internalError", "the disk is full")
    opened = terminal(*words)
    opened.wait_for("444444444444")
    task.go.set()
    assert opened.end() == 1
    assert opened.screen().startswith("before\nError: ")
    assert opened.screen().endswith("the disk is full")


def test_start_erases_its_progress_too(system: FakeSystem, terminal: Open) -> None:
    system.answers["Containers.Get"] = {"container": snapshot(state="stopped")}
    system.answers["Containers.Start"] = _write_then_end
    for words, end in ((("start", "web"), "web"), (("start", "-a", "web"), "output")):
        opened = terminal(*words)
        opened.wait_for("Starting container")
        assert opened.end() == 0
        assert opened.screen() == f"before\n{end}"


def test_a_warning_does_not_mix_with_the_progress(system: FakeSystem, terminal: Open) -> None:
    def create(parameters: dict[str, Any], fds: list[int]) -> Iterator[dict[str, Any]]:
        yield {"now": {"event": {"progress": FETCHING}}}
        time.sleep(0.6)
        yield {"now": {"event": {"volumes": ["data"]}}}
        time.sleep(0.3)
        yield {"event": {"id": "web"}}

    system.answers["Containers.Create"] = create
    opened = terminal("create", "-v", "data:/data", "a:1")
    assert opened.end() == 0
    warning = 'named volume was automatically created: ["volume": "data"]'
    assert opened.screen() == f"before\n{warning}\nweb"
    assert any(f"{warning}\n" in screen and "444444444444" in screen for screen in opened.seen)


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_colours_are_asked_for_and_can_be_forbidden(serve: Any, terminal: Open, no_color: str, colored: bool) -> None:
    words, task, _ = serve("pull")
    opened = terminal(*words, "--progress", "color", NO_COLOR=no_color)
    opened.wait_for("444444444444")
    colours = {cell.fg for line in opened.emulator.buffer.values() for cell in line.values()}
    assert colours == ({"default", "cyan"} if colored else {"default"})
    task.go.set()
    assert opened.end() == 0


def test_a_dumb_terminal_gets_plain_lines(serve: Any, terminal: Open) -> None:
    words, task, _ = serve("pull")
    opened = terminal(*words, TERM="dumb")
    time.sleep(0.5)
    task.go.set()
    assert opened.end() == 0
    assert b"\x1b" not in opened.bytes
