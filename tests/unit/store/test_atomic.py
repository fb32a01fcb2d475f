import os
import stat
import threading

import pytest

from container.errors import ContainerError, ErrorCode
from container.store import atomic


def test_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = str(tmp_path / "record")
    atomic.write(path, b"old")
    atomic.write(path, b"new", mode=0o644)
    assert (tmp_path / "record").read_bytes() == b"new"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert os.listdir(tmp_path) == ["record"]


def test_write_that_fails_keeps_the_old_file_and_names_the_path(tmp_path, monkeypatch):
    path = str(tmp_path / "record")
    atomic.write(path, b"old")

    def refuse(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ContainerError) as caught:
        atomic.write(path, b"new")
    assert caught.value.code is ErrorCode.INTERNAL
    assert path in caught.value.message
    assert "No space left on device" in caught.value.message
    assert os.listdir(tmp_path) == ["record"]
    assert (tmp_path / "record").read_bytes() == b"old"


def test_readers_never_see_half_a_file(tmp_path):
    path = str(tmp_path / "record")
    bodies = [b"a" * 100_000, b"b" * 50_000]
    atomic.write(path, bodies[0])
    stop = threading.Event()

    def writer():
        while not stop.is_set():
            for body in bodies:
                atomic.write(path, body)

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        for _ in range(200):
            with open(path, "rb") as file:
                assert file.read() in bodies
    finally:
        stop.set()
        thread.join()


def test_read_json_tells_absent_from_corrupt(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ContainerError) as caught:
        atomic.read_json(str(path))
    assert caught.value.code is ErrorCode.NOT_FOUND
    for body in (b"{", b"\xff\xfe", b""):
        path.write_bytes(body)
        with pytest.raises(ContainerError) as caught:
            atomic.read_json(str(path))
        assert caught.value.code is ErrorCode.INTERNAL
        assert str(path) in caught.value.message


def test_a_sibling_of_the_longest_name_can_be_made(tmp_path):
    left = atomic.sibling(str(tmp_path / ("x" * 255)))
    open(left, "w").close()
    atomic.sweep(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_sweep_removes_only_what_writes_left(tmp_path):
    left = atomic.sibling(str(tmp_path / "record"))
    open(left, "w").close()
    (tmp_path / "record").touch()
    (tmp_path / ".hidden").touch()
    atomic.sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [".hidden", "record"]
    atomic.sweep(str(tmp_path / "absent"))
