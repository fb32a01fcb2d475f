import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.cli.logfile import Records
from container.plugins.runtime import logs
from container.plugins.runtime.logs import LogWriter


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "stdio.log")


def records(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def texts(path, stream="stdout"):
    return [record["log"] for record in records(path) if record["stream"] == stream]


def test_each_line_is_a_record_of_dockers_json_file_format(path):
    log = LogWriter(path)
    log.write(b"one\ntwo\n", "stdout")
    log.write(b"bad\n", "stderr")
    first, second, third = records(path)
    assert list(first) == ["log", "stream", "time"]
    assert (first["log"], second["log"], third["log"]) == ("one\n", "two\n", "bad\n")
    assert (first["stream"], third["stream"]) == ("stdout", "stderr")
    assert abs(time.time() - time.mktime(time.strptime(first["time"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 5
    assert first["time"][19] == "."
    assert len(first["time"]) == 30
    assert first["time"].endswith("Z")
    log.close()


def test_a_line_in_pieces_is_one_record_and_streams_do_not_mix(path):
    log = LogWriter(path)
    log.write(b"hel", "stdout")
    log.write(b"other\n", "stderr")
    log.write(b"lo\nrest", "stdout")
    assert texts(path) == ["hello\n"]
    log.end("stdout")
    assert texts(path) == ["hello\n", "rest"]
    log.write(b"tail", "stderr")
    log.close()
    assert texts(path, "stderr") == ["other\n", "tail"]
    log.close()


def test_a_line_without_end_is_split_and_characters_stay_whole(path):
    log = LogWriter(path)
    line = "日本" * 20_000
    data = line.encode()
    for start in range(0, len(data), 1000):
        log.write(data[start : start + 1000], "stdout")
    log.close()
    pieces = texts(path)
    assert len(pieces) > 2
    assert "".join(pieces) == line


def test_the_beginning_of_a_line_shows_when_its_end_does_not_come(path):
    timers = []
    log = LogWriter(path, call_later=lambda delay, flush: timers.append((delay, flush)))
    log.write(b"whole\nno ", "stdout")
    log.write(b"new", "stdout")
    log.write(b"line", "stdout")
    assert texts(path) == ["whole\n"]
    assert [delay for delay, _ in timers] == [logs.PATIENCE]
    timers.pop()[1]()
    assert texts(path) == ["whole\n", "no newline"]
    log.write(b", yet\nanother", "stdout")
    timers.pop()[1]()
    assert texts(path) == ["whole\n", "no newline", ", yet\n", "another"]
    log.write(b"end", "stdout")
    log.close()
    timers.pop()[1]()  # after the end: nothing
    assert texts(path)[-1] == "end"


def test_a_new_log_forgets_the_old_one(path):
    for name in (path, path + ".1", path + ".2"):
        with open(name, "w") as file:
            file.write("old\n")
    LogWriter(path).close()
    assert os.path.getsize(path) == 0
    assert not os.path.exists(path + ".1")
    assert not os.path.exists(path + ".2")


def test_rotation_keeps_the_newest_and_loses_nothing_in_between(path):
    log = LogWriter(path, limit=2000, files=3)
    for number in range(100):
        log.write(b"line %d\n" % number, "stdout")
    log.close()
    files = [path + ".2", path + ".1", path]
    assert all(os.path.getsize(name) <= 2000 for name in files)
    kept = [text for name in files for text in texts(name)]
    assert kept == [f"line {number}\n" for number in range(100 - len(kept), 100)]
    assert not os.path.exists(path + ".3")


def test_a_full_disk_loses_records_not_the_container(path, monkeypatch, caplog):
    log = LogWriter(path)
    log.write(b"before\n", "stdout")
    write = os.write

    def half_then_full(fd, data):
        monkeypatch.setattr(os, "write", full)
        return write(fd, data[:10])

    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half_then_full)
    log.write(b"lost\n", "stdout")
    log.write(b"lost too\n", "stdout")
    assert caplog.text.count("No space left") == 1
    monkeypatch.setattr(os, "write", write)
    log.write(b"after\n", "stdout")
    log.close()
    with open(path) as file:
        lines = file.read().splitlines()
    assert [json.loads(line)["log"] for line in (lines[0], lines[-1])] == ["before\n", "after\n"]


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"\\", b'"', b"\x7f", b"\\n", b"\r\n"]))))
def test_every_byte_string_comes_back(pieces):
    data = b"".join(pieces)
    if data:
        encoded = bytes(logs.encode(data, "stdout", "2026-01-01T00:00:00Z"))
        lines = encoded.splitlines(keepends=True)
        assert all(line.endswith(b"\n") for line in lines)
        text = "".join(json.loads(line)["log"] for line in encoded.split(b"\n")[:-1])
        assert text.encode("utf-8", "surrogateescape") == data
        assert b"".join(Records().decode([encoded])) == data
        assert len(lines) == len(data.decode("utf-8", "replace").removesuffix("\n").split("\n"))


@pytest.mark.parametrize("line", [b"y\n", b"a usual line of output, 60 characters long, nothing special\n", bytes(64)])
def test_logging_is_quick(path, line):
    chunk = (line * 65536)[:65536]
    log = LogWriter(path)
    log.write(chunk, "stdout")
    begin = time.process_time()
    for _ in range(50):
        log.write(chunk, "stdout")
    taken = time.process_time() - begin
    log.close()
    assert 50 * len(chunk) / taken > 5e6  # bytes a second of CPU; 20 and more on an idle machine


def test_rotation_never_renames_over_a_file(path, monkeypatch):
    """ext4 would write such a file out at once."""
    rename, taken = os.rename, []
    monkeypatch.setattr(logs.os, "rename", lambda old, new: (taken.append(os.path.exists(new)), rename(old, new)))
    log = LogWriter(path, limit=1000, files=3)
    for number in range(100):
        log.write(b"%d\n" % number, "stdout")
    log.close()
    assert len(taken) > 6
    assert not any(taken)
