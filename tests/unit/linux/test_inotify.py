"""Events of files and directories."""

from pathlib import Path

import pytest

from container.linux import inotify


def test_events_name_the_entry(tmp_path: Path) -> None:
    with inotify.Inotify() as watches:
        watch = watches.add(str(tmp_path), inotify.CREATE)
        assert watches.wait(0) == []
        (tmp_path / "näme").touch()
        assert watches.wait(5) == [inotify.Event(watch, inotify.CREATE, "näme")]


def test_a_removed_directory_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    with inotify.Inotify() as watches:
        watches.add(str(directory), inotify.DELETE_SELF)
        directory.rmdir()
        assert [event.mask for event in watches.wait(5)] == [inotify.DELETE_SELF, inotify.IGNORED]


def test_a_path_that_is_not_there_is_an_error() -> None:
    with inotify.Inotify() as watches, pytest.raises(FileNotFoundError):
        watches.add("/no/such", inotify.MODIFY)
