"""LZ4 legacy frames: against lz4(1), and against damage."""

import contextlib
import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.vm.lz4 import decompress_legacy

needs_lz4 = pytest.mark.skipif(shutil.which("lz4") is None, reason="lz4 is not installed")


def compress(data: bytes) -> bytes:
    return subprocess.run(["lz4", "-l", "-c"], input=data, capture_output=True, check=True).stdout


@needs_lz4
@pytest.mark.parametrize(
    "data",
    [b"", b"a", b"a" * 100_000, b"abc" * 5_000 + b"tail", os.urandom(70_000), bytes(range(256)) * 300],
    ids=["empty", "one", "run", "pattern", "random", "counter"],
)
def test_content_survives(data: bytes) -> None:
    assert decompress_legacy(compress(data)) == data


@needs_lz4
def test_a_frame_of_several_blocks() -> None:
    data = os.urandom(1 << 20) * 9  # a block holds 8 MiB
    assert decompress_legacy(compress(data)) == data


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_damage_raises_and_never_hangs(noise: bytes) -> None:
    frame = b"\x02\x21\x4c\x18" + len(noise).to_bytes(4, "little") + noise
    with contextlib.suppress(ValueError, IndexError):
        decompress_legacy(frame)


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="legacy"):
        decompress_legacy(b"\x04\x22\x4d\x18....")
