"""Space that comes back from images, and images that are left alone."""

import fcntl
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from container.store import ext4, space


def debugfs(image: Path, *commands: str) -> str:
    """Do what a guest would."""
    words = ["debugfs", "-w", "-f", "-", str(image)]
    return subprocess.run(words, input="\n".join(commands), capture_output=True, text=True, check=True).stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with a file that is kept and the blocks of one that was removed."""
    path, data = tmp_path / "image", tmp_path / "data"
    ext4.make(str(path), 2 << 30)
    data.write_bytes(os.urandom(20 << 20))
    debugfs(path, f"write {data} removed", f"write {data} kept", "rm removed")
    return path


def allocated(image: Path) -> int:
    return image.stat().st_blocks * 512


def test_what_the_file_system_does_not_use_comes_back_and_nothing_else(image: Path, tmp_path: Path) -> None:
    before = allocated(image)
    assert before > 40 << 20
    assert before - allocated(image) == 0
    given = space.trim(str(image))
    assert given == before - allocated(image) > 19 << 20
    subprocess.run(["e2fsck", "-fn", str(image)], check=True, capture_output=True)
    debugfs(image, f"dump kept {tmp_path}/read")
    assert (tmp_path / "read").read_bytes() == (tmp_path / "data").read_bytes()
    assert space.trim(str(image)) == 0


def test_an_image_in_use_or_with_a_journal_to_replay_is_left_alone(image: Path) -> None:
    with image.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert space.trim(str(image)) == 0
    with image.open("r+b") as file:
        file.seek(1024 + 0x60)
        features = struct.unpack("<I", file.read(4))[0]
        file.seek(1024 + 0x60)
        file.write(struct.pack("<I", features | 4))
    assert space.trim(str(image)) == 0


def test_an_image_with_errors_is_left_alone(image: Path) -> None:
    """What its bitmaps call free may be in use."""
    with image.open("r+b") as file:
        file.seek(1024 + 0x3A)
        file.write(struct.pack("<H", 3))
    assert space.trim(str(image)) == 0


@pytest.mark.parametrize("seed", range(20))
def test_an_image_that_a_guest_has_forged_does_no_harm(image: Path, seed: int) -> None:
    chance, size = random.Random(seed), image.stat().st_size
    with image.open("r+b") as file:
        for _ in range(8):
            file.seek(chance.choice([1024 + 4 * chance.randrange(128), 4096 + 4 * chance.randrange(1024)]))
            file.write(struct.pack("<I", chance.choice([0, 1, 0xFFFFFFFF, chance.getrandbits(32)])))
        file.seek(1024 + 0x38)
        file.write(struct.pack("<HH", 0xEF53, 1))
    assert space.trim(str(image)) >= 0
    assert image.stat().st_size == size


def test_what_is_no_file_system_is_left_alone(tmp_path: Path) -> None:
    for content in (b"", b"x" * 100, bytes(1 << 16)):
        (tmp_path / "image").write_bytes(content)
        assert space.trim(str(tmp_path / "image")) == 0
        assert (tmp_path / "image").read_bytes() == content
