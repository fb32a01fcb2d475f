"""The commands of README and docs: found in their ```sh blocks, run as a reader would type them.

A reader's machine is a namespace of its own: its ports are free, `/etc/hosts` knows `registry.example`, and what the
documents take for granted (files, images on docker.io) is there.
"""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "decisions" not in path.parts
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)")
INTERRUPT = b"\x03"
# What a person types into a command that does not end by itself: (pattern of the command, answers).
_TYPED: list[tuple[str, bytes]] = [
    (r"(run|exec)\b.* -i?t?it? .*(bash|sh)$", b"exit\r"),
    (r"registry login (?!.*--password)", b"s3cret pass\r"),
    (r"(logs|events)\b.* (-f|--follow)\b", INTERRUPT),
]
_INTERRUPTED = 130
QUIET = 3.0  # seconds


@dataclass(frozen=True)
class Command:
    """One command of a document; `line` is where it begins."""

    document: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}: {self.text}"


def blocks(document: Path) -> Iterator[tuple[str, int, str]]:
    """Language, first line and text of every fenced block."""
    text = document.read_text()
    for match in _BLOCK.finditer(text):
        yield match.group(1), text.count("\n", 0, match.start(2)) + 1, match.group(2)


def commands(document: Path) -> list[Command]:
    """The commands of the ```sh blocks, with their continued lines and here-documents."""
    found: list[Command] = []
    for language, first, text in blocks(document):
        if language != "sh":
            continue
        lines = iter(enumerate(text.splitlines(), first))
        for number, line in lines:
            whole = line
            heredoc = _HEREDOC.search(line)
            while whole.endswith("\\") or (heredoc and whole.rpartition("\n")[2].strip() != heredoc.group(1)):
                whole += "\n" + next(lines)[1]
            if whole.strip() and not whole.startswith("#"):
                found.append(Command(document, number, whole))
    return found


@dataclass(frozen=True)
class Machine:
    """Where the commands run: inside the namespaces of `holder`."""

    holder: int
    environment: Mapping[str, str]
    directory: Path

    def argv(self, *words: str) -> list[str]:
        """The argv that runs `words` on this machine."""
        return ["nsenter", f"--target={self.holder}", "--net", "--mount", f"--wd={self.directory}", *words]

    def type(self, text: str, timeout: float = 180) -> tuple[int, str]:
        """Type a command at a terminal; its exit code and what the terminal showed.

        Raises AssertionError when it does not end in time.
        """
        typed = next((keys for pattern, keys in _TYPED if re.search(pattern, text.split("#")[0].strip())), b"")
        controller, terminal = pty.openpty()
        try:
            process = subprocess.Popen(
                self.argv("bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", text),
                env=dict(self.environment),
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
                preexec_fn=_take_terminal,
            )
            os.close(terminal)
            code, shown = _converse(process, controller, typed, time.monotonic() + timeout)
        finally:
            os.close(controller)
        if typed == INTERRUPT and code == _INTERRUPTED:
            code = 0
        return code, shown


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _converse(process: "subprocess.Popen[bytes]", controller: int, typed: bytes, deadline: float) -> tuple[int, str]:
    """Answer once it is quiet: what waits for words has asked by then, what only follows may have nothing to show."""
    shown = bytearray()
    quiet_since = time.monotonic() if typed == INTERRUPT else None
    try:
        while (left := deadline - time.monotonic()) > 0:
            if select.select([controller], [], [], min(left, 0.2))[0]:
                try:
                    data = os.read(controller, 65536)
                except OSError:  # EIO: nobody has the terminal any more
                    data = b""
                if not data:
                    return process.wait(max(left, 1)), shown.decode(errors="replace")
                shown += data
                quiet_since = time.monotonic()
            elif process.poll() is not None:
                return process.returncode, shown.decode(errors="replace")
            elif typed and quiet_since is not None and time.monotonic() - quiet_since > QUIET:
                os.write(controller, typed)
                quiet_since = None
        raise AssertionError(f"does not end; it showed: {shown.decode(errors='replace')}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def namespace(hosts: str) -> Iterator[int]:
    """A network with nothing but its loopback and an `/etc/hosts` with the lines `hosts`: the pid of who holds it."""
    script = 'mount --bind "$1" /etc/hosts && ip link set lo up && echo ready && exec sleep infinity'
    with contextlib.ExitStack() as stack:
        file = Path(stack.enter_context(_temporary("hosts")))
        file.write_text(f"127.0.0.1 localhost\n::1 localhost\n{hosts}\n")
        file.chmod(0o644)
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script, "sh", str(file)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()
            process.communicate()


@contextmanager
def _temporary(name: str) -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="container-documents-") as directory:
        yield os.path.join(directory, name)


def seed(directory: Path, image: Path) -> None:
    """The files that the documents speak of."""
    for name, text in {
        "report.txt": "a report\n",
        "password.txt": "s3cret pass",
        "src/main.c": "int main(void) { return 0; }\n",
        "site/index.html": "<h1>hello</h1>\n",
        "conf/app.ini": "key = value\n",
        "app.conf": "key = value\n",
        "variables.env": "KEY=value\n",
    }.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "image.tar").symlink_to(image)
