"""Slim kernel modules: what gcc makes of a traced function, before and after."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from container.vm.slim import slim

SOURCE = """
int helper(int x);
int traced(int x) { return helper(x) + 1; }
asm(".section .BTF; .long 1; .section .orc_unwind_ip,\\"a\\"; .long traced - .; .text");
"""
CALL, NOP = bytes.fromhex("e800000000"), bytes.fromhex("0f1f440000")

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or platform.machine() != "x86_64", reason="needs gcc for x86-64"
)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """An object file with a traced function."""
    (tmp_path / "m.c").write_text(SOURCE)
    flags = ["-O2", "-pg", "-mfentry", "-mrecord-mcount", "-fno-pie", "-fcf-protection=none"]
    subprocess.run(["gcc", *flags, "-c", "m.c", "-o", "m.ko"], cwd=tmp_path, check=True)
    return tmp_path / "m.ko"


def read(module: Path, *options: str) -> str:
    return subprocess.run(["readelf", *options, module], capture_output=True, text=True, check=True).stdout


def test_sections_that_no_guest_needs_lose_name_and_allocation(module: Path) -> None:
    assert "__mcount_loc" in read(module, "-SW")
    module.write_bytes(slim(module.read_bytes()))
    sections = read(module, "-SW")
    for name in (".BTF", ".orc_unwind_ip", "__mcount_loc"):
        assert name not in sections
    assert ".text" in sections
    assert ".symtab" in sections


def test_calls_of_the_tracer_become_nops_and_other_calls_stay(module: Path) -> None:
    data = module.read_bytes()
    assert data.count(CALL) == 2
    module.write_bytes(slim(data))
    assert module.read_bytes().count(NOP) == data.count(NOP) + 1
    assert module.read_bytes().count(CALL) == 1
    relocations = read(module, "-rW")
    assert "__fentry__" not in relocations
    assert "helper" in relocations


def test_the_size_stays(module: Path) -> None:
    data = module.read_bytes()
    assert len(slim(data)) == len(data)


@pytest.mark.parametrize("data", [b"", b"text", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 100])
def test_what_is_no_module_comes_back_as_it_is(data: bytes) -> None:
    assert slim(data) == data
