"""The one-disk image, read by the real QEMU and by the partition tools."""

import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from container.errors import ContainerError
from container.oci import gpt
from container.oci.digest import chain_id
from container.oci.rootfs import DiskStore

IDS = [f"sha256:{number:064x}" for number in range(300)]
needs_qemu = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")


@pytest.fixture
def disks(tmp_path: Path) -> DiskStore:
    for name in ("disks", "layers"):
        (tmp_path / name).mkdir()
    return DiskStore(str(tmp_path / "disks"))


def parts(disks: DiskStore, sizes: list[int]) -> list[tuple[str, str]]:
    found = []
    for number, size in enumerate(sizes):
        path = Path(disks.directory).parent / "layers" / f"{number}.squashfs"
        path.write_bytes(bytes([number % 255 + 1]) * size)
        found.append((IDS[number], str(path)))
    return found


def make(disks: DiskStore, sizes: list[int]) -> tuple[str, list[int]]:
    stack = parts(disks, sizes)
    path, made = disks.make(chain_id([diff_id for diff_id, _ in stack]), stack)
    return path, [part.size for part in made]


@needs_qemu
@pytest.mark.parametrize("sizes", [[4096], [4096, 12288, 4096], [5000, 8192], [4096] * 130])
def test_qemu_sees_each_layer_as_a_partition(disks: DiskStore, tmp_path: Path, sizes: list[int]) -> None:
    path, padded = make(disks, sizes)
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
    data = raw.read_bytes()
    assert all(size % 4096 == 0 for size in padded)
    for number, (first, last) in enumerate(partitions(data)):
        content = data[first * 512 : (last + 1) * 512]
        assert content == (bytes([number % 255 + 1]) * sizes[number]).ljust(padded[number], b"\0")
    assert len(partitions(data)) == len(sizes)
    if shutil.which("sgdisk"):
        said = subprocess.run(["sgdisk", "-v", raw], capture_output=True, text=True, check=True).stdout
        assert "No problems found" in said


def partitions(disk: bytes) -> list[tuple[int, int]]:
    """Partitions as the primary table has them; checks both tables' sums."""
    for at in (512, len(disk) - 512):
        header = disk[at : at + 92]
        assert header[:8] == b"EFI PART"
        assert struct.unpack_from("<I", header, 16)[0] == zlib.crc32(header[:16] + bytes(4) + header[20:])
        where, count, size, checksum = struct.unpack_from("<QIII", header, 72)
        entries = disk[where * 512 : where * 512 + count * size]
        assert zlib.crc32(entries) == checksum
    found = (struct.unpack_from("<QQ", entries, at + 32) for at in range(0, len(entries), size))
    return [(first, last) for first, last in found if first]


def test_partitions_begin_at_multiples_of_four_kib() -> None:
    table = gpt.build([8, 16, 8], "x")
    assert gpt.FIRST * 512 % 4096 == 0
    assert len(table.head) == gpt.FIRST * 512
    assert table.sectors == gpt.FIRST + 32 + len(table.tail) // 512


def test_the_same_stack_is_the_same_disk(disks: DiskStore) -> None:
    path, _ = make(disks, [4096, 8192])
    before = os.stat(path).st_mtime_ns
    assert make(disks, [4096, 8192])[0] == path
    assert os.stat(path).st_mtime_ns == before


@pytest.mark.parametrize("lost", [".vmdk", ".gpt", ".json"])
def test_a_disk_that_lost_a_file_is_made_again(disks: DiskStore, lost: str) -> None:
    path, _ = make(disks, [4096])
    os.unlink(path.removesuffix(".vmdk") + lost)
    make(disks, [4096])
    assert sorted(name.partition(".")[2] for name in os.listdir(disks.directory)) == ["gpt", "json", "vmdk"]


def test_a_layer_that_was_made_anew_with_another_size_gets_a_new_disk(disks: DiskStore) -> None:
    path, _ = make(disks, [4096])
    make(disks, [8192])
    assert 'RW 16 FLAT "../layers/0.squashfs" 0' in Path(path).read_text()


def test_removing_a_disk_leaves_nothing(disks: DiskStore) -> None:
    make(disks, [4096])
    (chain,) = disks.chains()
    assert disks.remove(chain) > 0
    assert os.listdir(disks.directory) == []


def test_too_many_layers_are_refused(disks: DiskStore) -> None:
    with pytest.raises(ContainerError, match="256 layers"):
        make(disks, [4096] * 256)
