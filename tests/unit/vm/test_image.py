"""Kernel images: formats told apart, payloads unpacked, damage named."""

import contextlib
import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.errors import ContainerError, ErrorCode
from container.vm import image

from . import kernels


def write(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "kernel"
    path.write_bytes(data)
    return str(path)


def refused(path: str) -> ContainerError:
    with pytest.raises(ContainerError) as caught:
        image.read(path)
    return caught.value


@pytest.mark.parametrize("compression", kernels.COMPRESSIONS)
def test_a_bzimage_becomes_its_vmlinux(tmp_path: Path, compression: str) -> None:
    kernel = kernels.elf()
    found = image.read(write(tmp_path, kernels.bzimage(kernels.COMPRESSIONS[compression](kernel))))
    assert (found.architecture, found.release, found.data) == ("amd64", kernels.RELEASE, kernel)


def test_a_vmlinux_is_taken_as_it_is(tmp_path: Path) -> None:
    found = image.read(write(tmp_path, kernels.elf()))
    assert (found.architecture, found.release) == ("amd64", kernels.RELEASE)


def test_a_bzimage_without_pvh_stays_a_bzimage(tmp_path: Path) -> None:
    data = kernels.bzimage(gzip.compress(kernels.elf(pvh=False)))
    assert image.read(write(tmp_path, data)).data == data


def test_a_vmlinux_without_pvh_is_unsupported(tmp_path: Path) -> None:
    assert refused(write(tmp_path, kernels.elf(pvh=False))).code is ErrorCode.UNSUPPORTED


def test_an_arm64_image_plain_and_gzipped(tmp_path: Path) -> None:
    data = bytes(56) + b"ARM\x64" + bytes(64) + kernels.BANNER
    for form in (data, gzip.compress(data)):
        found = image.read(write(tmp_path, form))
        assert (found.architecture, found.release, found.data) == ("arm64", kernels.RELEASE, data)


def test_an_arm64_image_in_its_efi_envelope(tmp_path: Path) -> None:
    data = bytes(56) + b"ARM\x64" + bytes(64) + kernels.BANNER
    payload = gzip.compress(data)
    envelope = b"MZ\0\0zimg" + struct.pack("<II", 64, len(payload)) + bytes(48) + payload
    assert image.read(write(tmp_path, envelope)).data == data


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"#!/bin/sh\n" * 100, bytes(4096)], ids=["empty", "word", "script", "zeros"]
)
def test_another_file_is_no_kernel(tmp_path: Path, data: bytes) -> None:
    error = refused(write(tmp_path, data))
    assert error.code is ErrorCode.INVALID_ARGUMENT
    assert "is not a Linux kernel" in error.message


def test_a_program_is_no_kernel() -> None:
    assert "another ELF file" in refused("/bin/sh").message


def test_a_missing_file_is_named() -> None:
    error = refused("/nonexistent/vmlinuz")
    assert error.code is ErrorCode.NOT_FOUND
    assert error.message == "kernel file not found at path /nonexistent/vmlinuz"


def test_a_directory_is_an_invalid_argument(tmp_path: Path) -> None:
    assert refused(str(tmp_path)).code is ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize("compression", kernels.COMPRESSIONS)
def test_a_damaged_payload_is_refused(tmp_path: Path, compression: str) -> None:
    payload = bytearray(kernels.COMPRESSIONS[compression](kernels.elf()))
    payload[6:] = b"\xff" * (len(payload) - 6)
    assert "is damaged" in refused(write(tmp_path, kernels.bzimage(bytes(payload)))).message


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    data = kernels.bzimage(gzip.compress(kernels.elf()))
    assert "cut short" in refused(write(tmp_path, data[:-20])).message


def test_an_unknown_compression_names_its_first_bytes(tmp_path: Path) -> None:
    error = refused(write(tmp_path, kernels.bzimage(b"\x89LZO" + bytes(64))))
    assert error.code is ErrorCode.UNSUPPORTED
    assert "894c5a4f" in error.message


@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
@settings(deadline=None)
def test_noise_in_an_elf_header_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    data = bytearray(kernels.elf())
    data[at : at + len(noise)] = noise
    with contextlib.suppress(ContainerError):
        image.read(write(tmp_path_factory.mktemp("noise"), bytes(data)))
