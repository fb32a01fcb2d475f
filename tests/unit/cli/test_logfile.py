"""Reading and following logs through rotations and restarts."""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.cli import logfile

from .conftest import FakeSystem, Reject


def _record(text: str, time: str = "2026-01-02T03:04:05.000000000Z") -> str:
    return json.dumps({"log": text, "stream": "stdout", "time": time}) + "\n"


def _text(path: Path) -> bytes:
    with logfile.Log(str(path)) as log:
        return b"".join(logfile.Records().decode(log.read()))


def test_rotated_files_come_first_and_in_order(tmp_path: Path) -> None:
    log = tmp_path / "stdio.log"
    for name, text in (("stdio.log.10", "1\n"), ("stdio.log.2", "2\n"), ("stdio.log.1", "3\n"), ("stdio.log", "4\n")):
        (tmp_path / name).write_text(_record(text))
    (tmp_path / "stdio.log.old").write_text(_record("never\n"))
    assert _text(log) == b"1\n2\n3\n4\n"


def test_records_keep_what_was_written(tmp_path: Path) -> None:
    log = tmp_path / "stdio.log"
    log.write_text(_record("no newline ") + _record("é\x00\n") + "not json\n" + '{"half": "a rec')
    assert _text(log) == "no newline é\x00\nnot json\n".encode()


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([b"\n\n", b"a\n", b"\n", b"b\n\n", b"\n"], b"a\n\nb\n"),
        ([b"a"], b"a\n"),
        ([b"\n", b""], b""),
        ([], b""),
    ],
)
def test_newlines_are_trimmed_at_both_ends(chunks: list[bytes], text: bytes) -> None:
    assert b"".join(logfile.trim(chunks)) == text


def test_the_last_lines_that_are_not_empty() -> None:
    assert b"".join(logfile.last_lines([b"a\n\nb", b"c\n", b"\nd"], 2)) == b"bc\nd\n"
    assert b"".join(logfile.last_lines([b"a\n"], 0)) == b""
    assert b"".join(logfile.last_lines([b"a\nb"], 2, end=b"")) == b"a\nb"
    assert b"".join(logfile.last_lines([b"12 a\n12 \n"], 2, margin=3)) == b"12 a\n"


def test_half_a_record_waits_for_its_rest_when_the_reader_begins_to_follow() -> None:
    records, whole = logfile.Records(), _record("whole\n").encode()
    assert b"".join(records.decode([whole[:9]])) == b""
    assert b"".join(records.decode([whole[9:]])) == b"whole\n"


@pytest.fixture
def following(system: FakeSystem) -> "Iterator[tuple[Path, subprocess.Popen[bytes]]]":
    """`container logs -f web`, with the first line seen."""
    bundle = system.root / "bundle"
    bundle.mkdir()
    log = bundle / "stdio.log"
    log.write_text(_record("first\n"))
    system.answers["Containers.Logs"] = {"files": {"stdio": str(log), "boot": str(bundle / "boot.log")}}
    command = subprocess.Popen(
        system.command("logs", "-f", "web"), env=system.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    assert command.stdout.readline() == b"first\n"
    yield log, command
    command.kill()
    command.communicate()


def _append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_following_goes_on_with_what_is_appended(following: "tuple[Path, subprocess.Popen[bytes]]") -> None:
    log, command = following
    assert command.stdout is not None
    half, rest = _record("second\n")[:9], _record("second\n")[9:]
    _append(log, half)
    _append(log, rest)
    assert command.stdout.readline() == b"second\n"


def test_following_survives_rotations(following: "tuple[Path, subprocess.Popen[bytes]]") -> None:
    log, command = following
    assert command.stdout is not None
    for number in range(5):
        _append(log, _record(f"old {number}\n"))
        if log.with_name("stdio.log.1").exists():
            log.with_name("stdio.log.1").rename(log.with_name("stdio.log.2"))
        log.rename(log.with_name("stdio.log.1"))
        log.write_text(_record(f"new {number}\n"))
        assert command.stdout.readline() == f"old {number}\n".encode()
        assert command.stdout.readline() == f"new {number}\n".encode()


def test_following_goes_on_with_the_log_of_a_restart(following: "tuple[Path, subprocess.Popen[bytes]]") -> None:
    log, command = following
    assert command.stdout is not None
    log.unlink()
    log.write_text(_record("again\n"))
    assert command.stdout.readline() == b"again\n"


def test_following_ends_when_the_container_is_deleted(following: "tuple[Path, subprocess.Popen[bytes]]") -> None:
    log, command = following
    log.unlink()
    os.rmdir(log.parent)
    assert command.communicate(timeout=20) == (b"", b"")
    assert command.returncode == 0


def test_logs_of_a_container(system: FakeSystem) -> None:
    (system.root / "stdio.log").write_text(_record("\n") + _record("a\n") + _record("\n") + _record("b\n\n"))
    (system.root / "boot.log").write_text("Linux\n")
    files = {"stdio": str(system.root / "stdio.log"), "boot": str(system.root / "boot.log")}
    system.answers["Containers.Logs"] = {"files": files}
    assert system.run("logs", "web").stdout == "a\n\nb\n"
    assert system.run("logs", "-n", "1", "web").stdout == "b\n"
    assert system.run("logs", "--boot", "web").stdout == "Linux\n"


def _times(system: FakeSystem) -> Path:
    """A log with a line a minute, the third one in two records."""
    log = system.root / "stdio.log"
    rows = (("one\n", 1), ("\n", 2), ("three, ", 3), ("and more\n", 4), ("five", 5))
    log.write_text("".join(_record(text, f"2026-01-02T03:0{minute}:00.000000000Z") for text, minute in rows))
    system.answers["Containers.Logs"] = {"files": {"stdio": str(log), "boot": str(log)}}
    return log


def test_times_stand_before_lines_not_before_records(system: FakeSystem) -> None:
    _times(system)
    stamp = "2026-01-02T03:0{}:00.000000000Z "
    lines = ["one", "", "three, and more", "five"]
    stamped = [stamp.format(minute) + line for minute, line in zip((1, 2, 3, 5), lines, strict=True)]
    assert system.run("logs", "-t", "web").stdout.splitlines() == stamped
    assert system.run("logs", "--timestamps", "--tail", "3", "web").stdout.splitlines() == [
        stamped[0],
        *stamped[2:],
    ]
    assert system.run("logs", "--tail", "all", "web").stdout.splitlines() == lines


def test_logs_of_a_span_of_time(system: FakeSystem) -> None:
    _times(system)
    assert system.run("logs", "--since", "2026-01-02T03:04:00Z", "web").stdout == "and more\nfive\n"
    assert system.run("logs", "--until", "2026-01-02T03:01:00Z", "web").stdout == "one\n"
    assert system.run("logs", "--until", "2026-01-02T03:00:59.999999999Z", "web").stdout == ""
    assert system.run("logs", "--since", "1h", "web").stdout == ""
    assert system.run("logs", "--since", "1767323040", "--until", "1767323040.5", "web").stdout == "and more\n"
    assert system.run("logs", "-f", "--until", "1m", "--tail", "1", "web").stdout == "five"  # over already


def test_following_until_a_time_ends_then(system: FakeSystem) -> None:
    _times(system)
    begun = time.time()
    result = system.run("logs", "-f", "--since", "2026-01-02T03:05:00Z", "--until", str(int(begun) + 2), "web")
    assert (result.stdout, result.returncode) == ("five", 0)
    assert time.time() >= int(begun) + 2


def test_the_boot_log_has_no_times(system: FakeSystem) -> None:
    _times(system)
    for option in (["-t"], ["--since", "1m"], ["--until", "1m"]):
        result = system.run("logs", "--boot", *option, "web")
        assert (result.returncode, "the boot log has no times" in result.stderr) == (64, True)


def test_logs_of_an_unknown_container(system: FakeSystem) -> None:
    def fail(parameters: object, fds: object) -> object:
        raise Reject("notFound", "failed to open container logs: container with ID web not found")

    system.answers["Containers.Logs"] = fail
    result = system.run("logs", "web")
    assert result.returncode == 1
    assert result.stderr == (
        "Error: failed to get logs for container web: failed to open container logs: container with ID web not found\n"
    )


def test_system_logs_are_merged_by_time(offline: FakeSystem) -> None:
    def stamp(ago: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - ago))

    logs = offline.root / "log"
    a, b, old = stamp(20), stamp(10), stamp(4000)
    (logs / "io.container.apiserver.log").write_text(f"{old} ancient\n{a} one\n{stamp(5)} three\nTraceback\n")
    (logs / "io.container.supervisor.log").write_text(f"{b} two\n")
    (logs / "io.container.apiserver.log.1").write_text(f"{stamp(25)} put aside\n")
    lines = offline.run("system", "logs").stdout.splitlines()
    assert [line[25:] for line in lines] == [
        "apiserver: put aside",
        "apiserver: one",
        "supervisor: two",
        "apiserver: three",
        "apiserver: Traceback",
    ]
    assert len(offline.run("system", "logs", "--last", "2h").stdout.splitlines()) == 6


def test_following_system_logs_ends_with_an_interrupt(offline: FakeSystem) -> None:
    import signal

    log = offline.root / "log" / "io.container.apiserver.log"
    log.write_text("2026-01-02T03:04:05.000Z before\n")
    command = subprocess.Popen(
        offline.command("system", "logs", "-f"), env=offline.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    fresh = offline.root / "log" / "io.container.new.log"
    while not select.select([command.stdout], [], [], 0.2)[0]:  # until the CLI watches
        _append(fresh, "2026-01-02T03:04:06.000Z hello\n")
    line = command.stdout.readline()
    assert line == b"2026-01-02T03:04:06.000Z new: hello\n"
    command.send_signal(signal.SIGINT)
    assert command.communicate(timeout=20)[1] == b""
    assert command.returncode == 0
