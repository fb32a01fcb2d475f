"""`-it` in a real terminal: tmux types and reads the screen."""

import shlex
import subprocess
import time
from collections.abc import Iterator

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


class Terminal:
    """A tmux session of its own server."""

    def __init__(self, name: str) -> None:
        self.socket = f"container-test-{name}"
        self._tmux("new-session", "-d", "-s", "main", "-x", "100", "-y", "30", "env", "PS1=host% ", "sh", "-I")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self.socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, *keys: str) -> None:
        """Send keys by tmux's names; plain text is typed as it is."""
        self._tmux("send-keys", "-t", "main", *keys)

    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p", "-t", "main").rstrip()

    def prompt(self) -> str:
        """The last line of the screen."""
        return self.screen().rpartition("\n")[2]

    def cursor_is_visible(self) -> bool:
        """Whether the cursor is shown."""
        return self._tmux("display-message", "-p", "-t", "main", "#{cursor_flag}").strip() == "1"

    def resize(self, columns: int, rows: int) -> None:
        """Change the window's size."""
        self._tmux("resize-window", "-t", "main", "-x", str(columns), "-y", str(rows))

    def wait_for(self, text: str, timeout: float = 60) -> str:
        """Wait until the screen holds `text`."""
        screen = settle(self.screen, lambda seen: text in seen, timeout)
        assert text in screen, screen
        return screen

    def wait_for_prompt(self, prompt: str) -> None:
        """Wait until the last line begins with a prompt; a late answer to busybox's cursor query may follow it."""
        assert settle(self.prompt, lambda seen: seen.startswith(prompt), 60).startswith(prompt), self.screen()

    def close(self) -> None:
        """End the server."""
        self._tmux("kill-server")


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """A terminal of 100 by 30 with a shell in it."""
    opened = Terminal(str(abs(hash(request.node.nodeid))))
    opened.wait_for_prompt("host%")
    yield opened
    opened.close()


def _start(system: System, terminal: Terminal, *arguments: str) -> None:
    settings = [f"{key}={value}" for key, value in system.environment.items()]
    terminal.type(shlex.join(["env", *settings, *system.command(*arguments)]), "Enter")


def test_an_interactive_shell_behaves_like_a_terminal(system: System, terminal: Terminal) -> None:
    _start(system, terminal, "run", "-it", "--rm", "-m", "256m", "-c", "1", "busybox", "sh")
    terminal.wait_for_prompt("/ #")
    terminal.type("Enter", "stty size; tty", "Enter")
    assert "30 100" in terminal.wait_for("/dev/pts/")

    terminal.resize(120, 40)
    terminal.type("clear; until stty size | grep '40 120'; do sleep 1; done", "Enter")
    terminal.wait_for("40 120\n/ #")

    terminal.type("clear; sh -c 'echo $((40+2)); exec sleep 1000'", "Enter")
    terminal.wait_for("42")
    terminal.type("C-c")
    terminal.wait_for_prompt("/ #")

    terminal.type("clear; sh -c 'echo $((40+3)); exec sleep 1001'", "Enter")
    terminal.wait_for("43")
    terminal.type("C-z")
    terminal.wait_for("Stopped")
    terminal.type("clear; jobs", "Enter")
    terminal.wait_for("sleep 1001")
    terminal.type("clear; fg", "Enter")
    assert settle(terminal.screen, lambda screen: screen.startswith("sh -c"), 60).startswith("sh -c")
    terminal.type("C-c")
    terminal.wait_for_prompt("/ #")
    terminal.type("exit 5", "Enter")
    terminal.wait_for_prompt("host%")
    terminal.type("echo code=$?", "Enter")
    terminal.wait_for("code=5")
    # The terminal is as it was: echo on, lines edited.
    terminal.type("clear; stty -a", "Enter")
    assert " icanon" in terminal.wait_for("-echoprt")


@pytest.mark.parametrize("options", [(), ("-it",)])
def test_the_output_of_a_run_has_the_screen_for_itself(
    system: System, terminal: Terminal, options: tuple[str, ...]
) -> None:
    terminal.type("clear", "Enter")
    _start(system, terminal, "run", "--rm", *options, "-m", "256m", "-c", "1", "busybox", "sh", "-c", "echo a; echo b")
    terminal.wait_for("Starting container")
    terminal.resize(70, 30)  # tmux breaks lines anew, other than xterm
    terminal.resize(120, 30)
    screen = terminal.wait_for("\na\nb\nhost%")
    assert "Starting container" not in screen
    assert terminal.cursor_is_visible()


def test_control_d_ends_a_shell(system: System, terminal: Terminal, box: str) -> None:
    _start(system, terminal, "exec", "-it", box, "sh")
    terminal.wait_for_prompt("/ #")
    for _ in range(30):  # a Ctrl-D between two lines, while the shell changes its terminal's mode, is nobody's
        terminal.type("C-d")
        if settle(terminal.prompt, lambda prompt: prompt.startswith("host%"), 2).startswith("host%"):
            break
    terminal.wait_for_prompt("host%")
    terminal.type("echo ended=$?", "Enter")
    terminal.wait_for("ended=0")


def test_closing_the_terminal_detaches(system: System, terminal: Terminal) -> None:
    _start(system, terminal, "run", "-it", "--name", "left", "-m", "256m", "-c", "1", "busybox", "sh")
    terminal.wait_for_prompt("/ #")
    terminal.type("echo $((40+2)) > /answer; sleep 1000", "Enter")
    time.sleep(1)
    subprocess.run(["tmux", "-L", terminal.socket, "kill-session", "-t", "main"], check=True)
    time.sleep(1)
    assert system.state("left") == "running"
    assert system.output("exec", "left", "cat", "/answer") == "42"
    system.run("delete", "-f", "left")
    Terminal.__init__(terminal, terminal.socket.removeprefix("container-test-"))
