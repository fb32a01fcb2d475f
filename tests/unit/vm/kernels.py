"""Files that look like kernels and modules, as small as the formats allow."""

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

RELEASE = "6.1.0-test"
BANNER = f"Linux version {RELEASE} (builder) #1".encode()


def elf(machine: int = 62, pvh: bool = True, banner: bytes = BANNER) -> bytes:
    """An ELF file with one note segment: the Xen PVH entry, or another note."""
    note = struct.pack("<III", 4, 4, 18 if pvh else 6) + b"Xen\0" + struct.pack("<I", 0x1000000)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x1000000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    return header + program + note + banner + b"\0" * 16


def bzimage(payload: bytes, version: int = 0x20F, release: str = RELEASE) -> bytes:
    """A bzImage with one setup sector and `payload` right behind the setup code."""
    setup = bytearray(1024)
    setup[0x1F1] = 1
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<H", setup, 0x20E, 0x300 - 0x200)
    struct.pack_into("<II", setup, 0x248, 0, len(payload))
    text = f"{release} (builder) #1".encode() + b"\0"
    setup[0x300 : 0x300 + len(text)] = text
    return bytes(setup) + payload


def _sized(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: compress(data) + struct.pack("<I", len(data))


def _tool(*command: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(command, input=data, capture_output=True, check=True).stdout


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": _sized(lzma.compress),
    "lzma": _sized(lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE)),
    "bzip2": _sized(bz2.compress),
    **({"zstd": _sized(_tool("zstd", "-c"))} if shutil.which("zstd") else {}),
    **({"lz4": _sized(_tool("lz4", "-l", "-c"))} if shutil.which("lz4") else {}),
}


def module(depends: str = "", release: str = RELEASE, signed: bool = False) -> bytes:
    """A kernel module: an ELF magic and a .modinfo, perhaps a signature."""
    data = b"\x7fELF" + bytes(60) + b"\0license=GPL\0depends=" + depends.encode()
    data += f"\0name=x\0vermagic={release} SMP preempt mod_unload\0".encode()
    if signed:
        data += b"SIGNATURE" + bytes(8) + (9).to_bytes(4, "big") + b"~Module signature appended~\n"
    return data


def module_tree(root: Path, missing: tuple[str, ...] = (), builtin: tuple[str, ...] = ("ext4",)) -> Path:
    """A /lib/modules/<release> as a package ships it: no modules.dep."""
    files = {
        "drivers/virtio/virtio_ring.ko": module(),
        "drivers/virtio/virtio.ko": module("virtio_ring"),
        "drivers/virtio/virtio_pci.ko": module("virtio,virtio_ring,virtio_pci_modern_dev", signed=True),
        "drivers/virtio/virtio_pci_modern_dev.ko": module(),
        "drivers/char/virtio_console.ko": module("virtio,virtio_ring"),
        "drivers/block/virtio_blk.ko.xz": lzma.compress(module("virtio")),
        "drivers/net/virtio-net.ko": module("virtio"),
        "fs/squashfs/squashfs.ko": module(),
        "fs/overlayfs/overlay.ko": module(),
        "fs/nfs/nfs.ko": module(),
    }
    for name, data in files.items():
        if Path(name).name.partition(".")[0] not in missing:
            path = root / "kernel" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (root / "modules.builtin").write_text("".join(f"kernel/fs/{name}/{name}.ko\n" for name in builtin))
    return root
