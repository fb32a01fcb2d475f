"""Kernel modules without what a guest never asks for: loading one takes an emulated CPU a third less.

A section is not cut out, which would renumber all others: it loses its name and SHF_ALLOC, and the kernel's loader
then neither finds nor relocates it (elf(5); load_module in kernel/module).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Types for BPF programs, and tables for exact backtraces through a module, which are sorted at each load: an oops is
# still reported, with a backtrace by guess.
DROPPED = frozenset({b".BTF", b".orc_unwind", b".orc_unwind_ip"})
# Where ftrace could patch. Each place calls __fentry__; the kernel makes it a NOP at load, here it becomes one at once.
_TRACED, _TRACER = b"__mcount_loc", b"__fentry__"

_SHT_SYMTAB, _SHT_RELA, _SHF_ALLOC = 2, 4, 2
_EM_X86_64 = 62
_CALL, _NOP = b"\xe8", b"\x0f\x1f\x44\x00\x00"  # call rel32; nopl 0(%rax,%rax)
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")  # Elf64_Ehdr behind e_ident
_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr
_SYMBOL = struct.Struct("<I20x")  # Elf64_Sym: the name
_RELOCATION = struct.Struct("<QII8x")  # Elf64_Rela: offset, type, symbol


@dataclass(frozen=True)
class _Section:
    header: int  # where it is in the file
    name: bytes
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int


def slim(module: bytes) -> bytes:
    """The module as it is to be loaded; what is no 64-bit little-endian ELF object comes back as it is."""
    if not module.startswith(b"\x7fELF\x02\x01"):
        return module
    result = bytearray(module)
    try:
        sections = list(_sections(module))
        dropped = set(DROPPED)
        if _HEADER.unpack_from(module)[1] == _EM_X86_64:
            _untrace(result, sections)
            dropped.add(_TRACED)
    except (struct.error, IndexError, ValueError, OverflowError):
        return module  # the kernel will say what is wrong with it
    for section in sections:
        if section.name.removeprefix(b".rela") in dropped:
            struct.pack_into("<IIQ", result, section.header, 0, section.kind, section.flags & ~_SHF_ALLOC)
    return bytes(result)


def _sections(module: bytes) -> Iterator[_Section]:
    header = _HEADER.unpack_from(module)
    table, size, count, names_at = header[5], header[10], header[11], header[12]
    if count == 0:
        return
    names = _SECTION.unpack_from(module, table + names_at * size)[4]
    for at in range(table, table + count * size, size):
        name, kind, flags, _, offset, length, link, info, _, _ = _SECTION.unpack_from(module, at)
        yield _Section(at, _string(module, names + name), kind, flags, offset, length, link, info)


def _untrace(module: bytearray, sections: list[_Section]) -> None:
    """Make NOPs of all calls of the tracer."""
    for table in sections:
        if table.kind != _SHT_RELA or sections[table.link].kind != _SHT_SYMTAB:
            continue
        tracer = _symbol(module, sections, sections[table.link])
        target = sections[table.info]
        for at in range(table.offset, table.offset + table.size, 24):
            offset, _, symbol = _RELOCATION.unpack_from(module, at)
            call = target.offset + offset - 1
            if symbol == tracer and tracer and module[call : call + 5] == _CALL + bytes(4):
                module[call : call + 5] = _NOP
                struct.pack_into("<II", module, at + 8, 0, 0)  # R_X86_64_NONE


def _symbol(module: bytearray, sections: list[_Section], table: _Section) -> int:
    """Number of the tracer's symbol, 0 without one."""
    names = sections[table.link].offset
    for number, at in enumerate(range(table.offset, table.offset + table.size, 24)):
        (name,) = _SYMBOL.unpack_from(module, at)
        if module.startswith(_TRACER + b"\0", names + name):
            return number
    return 0


def _string(data: bytes, at: int) -> bytes:
    return data[at : data.index(b"\0", at)]
