"""`tools/step`: what a person sees of a long command, on a terminal and in a log."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

STEP = Path(__file__).parents[3] / "tools" / "step"


def step(directory: Path, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a step without a terminal."""
    command = [STEP, "Baking", "Buy flour.", "sh", "-c", script]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def test_a_log_has_one_line_and_the_output_is_kept(tmp_path: Path) -> None:
    result = step(tmp_path, "echo kneading; echo rising >&2")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "==> Baking\n")
    assert (tmp_path / ".cache/set-up.log").read_text() == "==> Baking\nkneading\nrising\n"


def test_a_failure_is_one_sentence_with_the_reason_and_what_to_do(tmp_path: Path) -> None:
    result = step(tmp_path, "echo 'E: no oven'; echo 'and then some'; exit 7")
    assert result.returncode == 7
    log = tmp_path / ".cache/set-up.log"
    assert result.stderr.splitlines()[1:] == [
        f"Error: Baking failed: no oven. Buy flour. The whole output is in {log}."
    ]
    assert "failed: the last line. Buy" in step(tmp_path, "echo the last line; exit 1").stderr


def test_an_interrupted_step_says_so(tmp_path: Path) -> None:
    command = [STEP, "Baking", "Buy flour.", "sleep", "60"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "==> Baking\n"
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        assert "Error: Baking failed: it was interrupted. Buy flour." in process.stderr.read()
    assert process.returncode == 130


def test_a_terminal_shows_what_runs_just_now_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    script = "echo kneading the dough; sleep 2.5"
    with subprocess.Popen([STEP, "Baking", "", "sh", "-c", script], cwd=tmp_path, stderr=terminal, stdin=terminal):
        os.close(terminal)
        seen = b""
        while piece := _read(main):
            seen += piece
    os.close(main)
    assert b"s  kneading the dough" in seen
    assert b"1 s  kneading" in seen, "the seconds count while nothing is said"
    lines = seen.decode().replace("\r\n", "\n").split("\n")
    assert [line.rpartition("\r\x1b[K")[2] for line in lines] == ["==> Baking", lines[1].rpartition("\x1b[K")[2], ""]
    assert "done in" in lines[1]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:  # the other side is closed
        return b""
