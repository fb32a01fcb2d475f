"""Log files that are put aside when they have grown."""

import os
from pathlib import Path

from container.supervisor.servicelog import LIMIT, open_log, remove_log


def test_a_log_is_appended_to_and_put_aside_once_it_is_large(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "service.log"
    for text in (b"a", b"b"):
        with open(open_log(str(path)), "wb", buffering=0) as file:
            file.write(text)
    assert path.read_bytes() == b"ab"
    assert path.stat().st_mode & 0o777 == 0o600

    os.truncate(path, LIMIT + 1)
    for _ in range(2):
        with open(open_log(str(path)), "wb", buffering=0) as file:
            file.write(b"c")
    assert path.read_bytes() == b"cc"
    assert (tmp_path / "logs" / "service.log.1").stat().st_size == LIMIT + 1
    assert sorted(os.listdir(path.parent)) == ["service.log", "service.log.1"]
    remove_log(str(path))
    assert os.listdir(path.parent) == []


def test_no_device_is_put_aside() -> None:
    os.close(open_log(os.devnull))
    assert os.path.exists(os.devnull)
