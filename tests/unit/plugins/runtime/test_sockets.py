"""Sockets that are published on the host, and those of the host that a container sees."""

import os
import socket
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.model.port import PublishSocket
from container.plugins.runtime import sockets
from container.store.leftovers import Leftovers


def _bind(path: Path, bundle: Path) -> sockets.HostSockets:
    return sockets.bind([PublishSocket("/run/x.sock", str(path))], str(bundle))


def test_the_parent_is_made_and_a_leftover_file_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.sock"
    with _bind(path, tmp_path):
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()
    path.write_text("left")
    with _bind(path, tmp_path):
        assert path.is_socket()


def test_a_path_longer_than_an_address_holds(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("x" * 60)
    with _bind(path, tmp_path):
        assert path.is_socket()


def test_a_socket_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        inode = path.stat().st_ino
        with pytest.raises(ContainerError) as caught:
            _bind(path, tmp_path)
        assert caught.value.code is ErrorCode.EXISTS
        assert caught.value.message == f"host socket {path} already exists and may be in use"
        assert path.stat().st_ino == inode


def test_a_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(ContainerError, match="something that is no socket"):
        _bind(tmp_path / "x", tmp_path)


def test_of_several_none_stays_when_one_fails(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    wanted = [PublishSocket("/x", str(tmp_path / name)) for name in ("good", "bad")]
    with pytest.raises(ContainerError):
        sockets.bind(wanted, str(tmp_path))
    assert not (tmp_path / "good").exists()


def test_what_a_killed_helper_left_goes_with_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    killed = _bind(path, tmp_path)
    with _bind(path, tmp_path):
        assert path.is_socket()
    for sock, _ in killed.bound:
        sock.close()


def test_leftovers_that_something_else_replaced_stay(tmp_path: Path) -> None:
    path, record = tmp_path / "x.sock", tmp_path / "sockets.json"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(path))
        Leftovers(str(record)).note(str(path))
        os.rename(path, tmp_path / "kept")
        second.bind(str(path))
        Leftovers(str(record)).remove()
        assert path.is_socket()
        assert not record.exists()
        Leftovers(str(record)).remove()
