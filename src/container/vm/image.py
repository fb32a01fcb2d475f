"""Kernel images: what a file is, and the uncompressed kernel inside it.

Formats: ELF `vmlinux`; x86 bzImage (Documentation/arch/x86/boot.rst, fields payload_offset and payload_length); arm64
`Image` (Documentation/arch/arm64/booting.rst), plain, gzip, or in an EFI zboot envelope (drivers/firmware/efi/libstub).
"""

import bz2
import lzma
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, os_reason
from container.vm.lz4 import decompress_legacy

_ELF = b"\x7fELF"
_GZIP = b"\x1f\x8b"
_ELF_MACHINES = {62: "amd64", 183: "arm64"}
_PT_NOTE = 4
_XEN_PHYS32_ENTRY = 18  # note of a kernel that QEMU can start by PVH (docs/interop in Xen: elfnote.h)
_SIZE_TRAILER = 4  # the kernel's build appends the uncompressed size to the payload, gzip excepted
_BANNER = re.compile(rb"Linux version (\S{1,128}) ")


@dataclass(frozen=True)
class KernelImage:
    """A kernel that QEMU can boot: `data` is an ELF vmlinux, a bzImage or an arm64 Image."""

    architecture: str  # amd64 or arm64
    release: str | None  # as uname -r will say
    data: bytes


def read(path: str) -> KernelImage:
    """The kernel in a file, uncompressed where possible.

    Raises ContainerError: not-found, invalid-argument (no kernel, damaged), unsupported (compression).
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise ContainerError(ErrorCode.NOT_FOUND, f"kernel file not found at path {path}") from error
    except OSError as error:
        raise invalid_argument(f"cannot read the kernel file {path}: {os_reason(error)}") from error
    try:
        image = _identify(data, path)
    except struct.error as error:
        raise invalid_argument(f"the kernel {path} is cut short: {error}") from error
    if image is None:
        expected = "expected a bzImage, a vmlinux or an arm64 Image"
        raise invalid_argument(f"{path} is not a Linux kernel: {expected}")
    return image


def _identify(data: bytes, path: str) -> KernelImage | None:
    if data[:4] == _ELF:
        return _from_elf(data, path)
    if data[0x202:0x206] == b"HdrS":
        return _from_bzimage(data, path)
    if data[:2] == b"MZ" and data[4:8] == b"zimg":
        offset, size = struct.unpack_from("<II", data, 8)
        return _identify(_decompress(data[offset : offset + size], path), path)
    if data[56:60] == b"ARM\x64":
        return KernelImage("arm64", _release(data), data)
    if data[:2] == _GZIP:
        return _identify(_decompress(data, path), path)
    return None


def _from_elf(data: bytes, path: str) -> KernelImage:
    architecture = _ELF_MACHINES.get(int.from_bytes(data[18:20], "little"))
    if architecture is None or data[4] != 2 or b"Linux version " not in data:
        raise invalid_argument(f"{path} is not a Linux kernel for amd64 or arm64, but another ELF file")
    if architecture == "arm64":
        raise ContainerError(ErrorCode.UNSUPPORTED, f"{path} is an arm64 vmlinux: QEMU boots the arm64 Image only")
    if not _has_pvh(data):
        raise ContainerError(ErrorCode.UNSUPPORTED, f"{path} has no PVH entry (CONFIG_PVH): use its bzImage")
    return KernelImage(architecture, _release(data), data)


def _from_bzimage(data: bytes, path: str) -> KernelImage:
    setup_sectors = data[0x1F1] or 4
    (version,) = struct.unpack_from("<H", data, 0x206)
    (banner,) = struct.unpack_from("<H", data, 0x20E)
    release = data[banner + 0x200 : banner + 0x280].split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")
    original = KernelImage("amd64", release or None, data)
    if version < 0x208:
        return original
    offset, size = struct.unpack_from("<II", data, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    if start + size > len(data):
        raise invalid_argument(
            f"the kernel {path} is cut short: {len(data)} bytes, its header speaks of {start + size}"
        )
    payload = data[start : start + size]
    if not payload.startswith(_GZIP):
        payload = payload[:-_SIZE_TRAILER]
    kernel = _decompress(payload, path)
    if kernel[:4] != _ELF or not _has_pvh(kernel):
        return original  # QEMU boots it by its own decompressor
    return KernelImage("amd64", release or _release(kernel), kernel)


def _release(data: bytes) -> str | None:
    match = _BANNER.search(data)
    return match.group(1).decode("ascii", "replace") if match else None


def _has_pvh(elf: bytes) -> bool:
    (table,) = struct.unpack_from("<Q", elf, 32)
    entry_size, count = struct.unpack_from("<HH", elf, 54)
    for index in range(count):
        entry = table + index * entry_size
        if entry + 56 > len(elf):
            return False
        (kind,) = struct.unpack_from("<I", elf, entry)
        offset, _, _, size = struct.unpack_from("<QQQQ", elf, entry + 8)
        if kind == _PT_NOTE and _has_note(elf[offset : offset + size], b"Xen\0", _XEN_PHYS32_ENTRY):
            return True
    return False


def _has_note(notes: bytes, owner: bytes, wanted: int) -> bool:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        if kind == wanted and notes[at + 12 : at + 12 + name_size] == owner:
            return True
        at += 12 + (name_size + 3 & ~3) + (size + 3 & ~3)
    return False


def _decompress(payload: bytes, path: str) -> bytes:
    found = next((entry for magic, entry in _COMPRESSIONS.items() if payload.startswith(magic)), None)
    if found is None:
        message = f"the kernel in {path} is compressed in an unknown way (it begins with {payload[:4].hex()})"
        raise ContainerError(ErrorCode.UNSUPPORTED, f"{message}: use an uncompressed vmlinux")
    name, decompress = found
    try:
        return decompress(payload)
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, IndexError) as error:
        raise invalid_argument(f"the kernel in {path} is damaged: {name} cannot decompress it: {error}") from error


def _gzip(payload: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    data = stream.decompress(payload)
    if not stream.eof:
        raise EOFError("it ends too early")
    return data


def _xz(payload: bytes) -> bytes:
    stream = lzma.LZMADecompressor()
    data = stream.decompress(payload)
    if not stream.eof and payload[:1] == b"\xfd":
        raise EOFError("it ends too early")
    return data


def _zstd(payload: bytes) -> bytes:
    program = shutil.which("zstd")
    if program is None:
        message = "the kernel is compressed with zstd, and zstd is not installed: install it (apt-get install zstd)"
        raise ContainerError(ErrorCode.UNSUPPORTED, message)
    done = subprocess.run([program, "-dc"], input=payload, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip())
    return done.stdout


_COMPRESSIONS: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    _GZIP: ("gzip", _gzip),
    b"\xfd7zXZ\0": ("xz", _xz),
    b"\x5d\0\0": ("lzma", _xz),
    b"BZh": ("bzip2", lambda payload: bz2.BZ2Decompressor().decompress(payload)),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
    b"\x02\x21\x4c\x18": ("lz4", decompress_legacy),
}


def decompress_module(data: bytes, path: str) -> bytes:
    """A kernel module (ELF) from the bytes of `.ko`, `.ko.xz`, `.ko.gz` or `.ko.zst`. Errors as in `read`."""
    if data[:4] == _ELF:
        return data
    module = _decompress(data, path)
    if module[:4] != _ELF:
        raise internal(f"{path} is not a kernel module")
    return module
