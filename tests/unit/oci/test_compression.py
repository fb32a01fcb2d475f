"""Streams are decompressed by what they are, not by what they are called."""

import gzip
import lzma
import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import ContainerError, ErrorCode
from container.oci.compression import Read, decompressed

needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")


def source(data: bytes, size: int) -> Read:
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return lambda: next(parts, b"")


def plain(data: bytes, size: int = 1000) -> bytes:
    with decompressed(source(data, size), "the stream") as read:
        return b"".join(iter(read, b""))


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


@given(st.lists(st.binary(max_size=3000), max_size=4), st.integers(1, 4000), st.integers(0, 600))
def test_gzip_members_follow_each_other_and_zeros_may_follow_them(parts: list[bytes], size: int, zeros: int) -> None:
    data = b"".join(gzip.compress(part) for part in parts)
    assert plain(data + bytes(zeros if data else 0), size) == b"".join(parts)


@given(st.binary(max_size=40), st.integers(1, 50))
def test_anything_else_is_passed_on_as_it_is(data: bytes, size: int) -> None:
    assert plain(b"plain" + data, size) == b"plain" + data


def test_much_from_little_comes_in_small_pieces() -> None:
    with decompressed(source(gzip.compress(bytes(64 << 20)), 1 << 18), "the stream") as read:
        sizes = [len(piece) for piece in iter(read, b"")]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20


@needs_zstd
def test_zstd_is_decompressed_also_in_several_frames() -> None:
    data = os.urandom(3 << 20)
    assert plain(zstd(data) + zstd(b"more"), 70_000) == data + b"more"


@needs_zstd
def test_a_zstd_reader_may_stop_early() -> None:
    with decompressed(source(zstd(os.urandom(8 << 20)), 70_000), "the stream") as read:
        assert read()


@pytest.mark.parametrize("damage", ["short", "flipped", "garbage after"])
@pytest.mark.parametrize("kind", [gzip.compress, pytest.param(zstd, marks=needs_zstd)])
def test_damage_is_an_invalid_argument(kind: object, damage: str) -> None:
    data = bytearray(kind(os.urandom(100_000)))  # type: ignore[operator]
    if damage == "short":
        del data[50_000:]
    elif damage == "flipped":
        data[-3] ^= 0xFF
    else:
        data += b"garbage"
    with pytest.raises(ContainerError, match="the stream is corrupt") as raised:
        plain(bytes(data))
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT


@needs_zstd
def test_an_error_of_the_source_reaches_the_reader() -> None:
    first = [zstd(os.urandom(100_000))[:5000]]

    def read() -> bytes:
        if first:
            return first.pop()
        raise ContainerError(ErrorCode.INTERRUPTED, "the source broke")

    with decompressed(read, "the stream") as plain_read, pytest.raises(ContainerError, match="the source broke"):
        list(iter(plain_read, b""))


def test_other_compressions_are_named() -> None:
    with pytest.raises(ContainerError, match="compressed with xz") as raised:
        plain(lzma.compress(b"x"))
    assert raised.value.code is ErrorCode.UNSUPPORTED


def test_without_zstd_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ContainerError, match="install the package zstd"):
        plain(b"\x28\xb5\x2f\xfd0000")
