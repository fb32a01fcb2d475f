"""Kernel modules: which files a guest needs, in load order.

The order comes from what each module says of itself (`depends=` in its .modinfo section), for packages ship no
modules.dep before depmod(8) ran. A module's name is its file name with `_` for `-`.
"""

import os
from dataclasses import dataclass

from container.errors import ContainerError, ErrorCode, not_found, os_reason
from container.vm.image import decompress_module

# Without these no container starts. The first two come first: the channel works as soon as they are loaded.
REQUIRED = ("virtio_pci", "virtio_console", "virtio_blk", "squashfs", "overlay", "ext4")
# Used when there.
OPTIONAL = ("virtio_net", "virtio_balloon", "fuse", "virtiofs", "unix", "ipv6", "af_packet", "tun")

_SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")
_SIGNATURE = b"~Module signature appended~\n"
_SIGNATURE_HEADER = 12  # struct module_signature, <linux/module_signature.h>; its last 4 bytes: the length, big-endian


@dataclass(frozen=True)
class Module:
    """A kernel module, uncompressed, without its signature; `depends` as it says itself."""

    name: str
    data: bytes
    depends: tuple[str, ...]
    release: str | None


def select(directory: str) -> list[Module]:
    """The modules of REQUIRED and OPTIONAL and all that they depend on, in load order, from a /lib/modules/<release>.

    Modules that are built in (modules.builtin) are left out. Raises ContainerError(not-found) for one that is neither.
    """
    files = _index(directory)
    builtin = _builtin(directory)
    chosen: dict[str, Module] = {}

    def add(name: str, required: bool, above: str) -> None:
        if name in chosen or name in builtin:
            return
        if name not in files:
            if required:
                raise not_found(f"the kernel modules in {directory} lack {name}{above}")
            return
        module = load(files[name])
        for needed in module.depends:
            add(needed, True, f", which {name} needs")
        chosen[name] = module

    for name in REQUIRED:
        add(name, True, "")
    for name in OPTIONAL:
        add(name, False, "")
    return list(chosen.values())


def load(path: str) -> Module:
    """Read one module file. Raises ContainerError when it cannot be read or is none."""
    try:
        with open(path, "rb") as file:
            data = decompress_module(file.read(), path)
    except OSError as error:
        raise ContainerError(ErrorCode.INTERNAL, f"cannot read the kernel module {path}: {os_reason(error)}") from error
    depends = _information(data, b"depends") or ""
    magic = _information(data, b"vermagic")
    return Module(
        name=_name(os.path.basename(path)),
        data=_unsigned(data),
        depends=tuple(_name(part) for part in depends.split(",") if part),
        release=magic.split(" ")[0] if magic else None,
    )


def _index(directory: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            if name.endswith(_SUFFIXES):
                found.setdefault(_name(name), os.path.join(parent, name))
    return found


def _builtin(directory: str) -> set[str]:
    try:
        with open(os.path.join(directory, "modules.builtin"), encoding="utf-8") as file:
            return {_name(os.path.basename(line.strip())) for line in file}
    except FileNotFoundError:
        return set()


def _name(file: str) -> str:
    return file.partition(".ko")[0].strip().replace("-", "_")


def _information(data: bytes, key: bytes) -> str | None:
    """Value of a `key=value` string in .modinfo, whose strings end in NUL; no other section has the pattern."""
    at = data.find(b"\0" + key + b"=")
    if at < 0:
        return None
    start = at + len(key) + 2
    return data[start : data.index(b"\0", start)].decode("ascii", "replace")


def _unsigned(data: bytes) -> bytes:
    """The module without the signature that modsign appended: our kernel trusts its initramfs."""
    if not data.endswith(_SIGNATURE):
        return data
    end = len(data) - len(_SIGNATURE)
    size = int.from_bytes(data[end - 4 : end], "big")
    return data[: end - _SIGNATURE_HEADER - size]
