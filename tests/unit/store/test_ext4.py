"""Images by e2fsprogs, as e2fsprogs sees them."""

import subprocess
from pathlib import Path

import pytest

from container.errors import ContainerError
from container.store import ext4


def debugfs(image: Path, command: str) -> str:
    return subprocess.run(["debugfs", "-R", command, str(image)], capture_output=True, text=True, check=True).stdout


def test_an_image_is_clean_and_empty(tmp_path: Path) -> None:
    image = tmp_path / "image"
    ext4.make(str(image), 1 << 30)
    subprocess.run(["e2fsck", "-fn", str(image)], check=True, capture_output=True)
    assert "lost+found" not in debugfs(image, "ls")
    assert image.stat().st_blocks * 512 < 1 << 20


def test_journal_mode_and_size_are_in_the_image(tmp_path: Path) -> None:
    image = tmp_path / "image"
    ext4.make(str(image), 1 << 30, journal_mode="journal", journal_size=32 << 20)
    told = subprocess.run(["dumpe2fs", "-h", str(image)], capture_output=True, text=True, check=True).stdout
    assert "journal_data user_xattr acl" in told
    assert "Total journal size:       32M" in told


def test_a_new_image_needs_a_first_writable_mount_and_other_files_do_not(tmp_path: Path) -> None:
    image, other = tmp_path / "image", tmp_path / "other"
    ext4.make(str(image), 1 << 20)
    other.write_bytes(bytes(8192))
    assert ext4.needs_writing(str(image))
    assert not ext4.needs_writing(str(other))


def test_a_failure_leaves_nothing_and_tells_why(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with pytest.raises(ContainerError, match="cannot make the file system"):
        ext4.make(str(image), 1 << 10)
    assert not image.exists()
