"""The newc archive, read back by the cpio of busybox(1)."""

import subprocess
from pathlib import Path

from container.vm.cpio import Archive


def test_entries_are_aligned_to_four_bytes() -> None:
    archive = Archive()
    archive.file("a", b"12345")
    data = archive.finish()
    assert data.startswith(b"070701")
    assert len(data) % 4 == 0
    assert data.index(b"070701", 6) % 4 == 0


def test_the_archive_ends_with_the_trailer() -> None:
    assert b"TRAILER!!!\0" in Archive().finish()


def test_cpio_reads_what_we_write(tmp_path: Path) -> None:
    archive = Archive()
    archive.directory("dev")
    archive.file("init", b"#!", mode=0o755)
    archive.file("dev/x", b"hello world")
    subprocess.run(["busybox", "cpio", "-id"], input=archive.finish(), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "dev" / "x").read_bytes() == b"hello world"
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
