"""A look at a store before it is used: what a crash or a failing disk left unusable is removed, to be made again.

Small documents are hashed; of blobs, layers and disks only size and head are looked at, so that a large store is looked
through in well under a second. Call it where nothing else uses the store.
"""

import contextlib
import os
import struct
from collections.abc import Iterator

from container.errors import ContainerError, os_reason
from container.model.image import Descriptor
from container.oci import digest as digests
from container.oci import image
from container.oci.content import ContentStore
from container.oci.layers import SQUASHFS, LayerStore
from container.oci.mediatypes import INDEXES, MANIFESTS
from container.oci.rootfs import DiskStore
from container.store import atomic

_MAGIC = b"hsqs"
_BYTES_USED = struct.Struct("<Q")
_BYTES_USED_OFFSET = 40  # fs/squashfs/squashfs_fs.h: struct squashfs_super_block


def check(content: ContentStore, layers: LayerStore, disks: DiskStore) -> list[str]:
    """Remove what is unusable; returns a line about each. Raises ContainerError(internal) for an unreadable index."""
    found = []
    for descriptor in _descriptors(content):
        reason = _bad_blob(content.path(descriptor.digest), descriptor)
        if reason:
            content.remove(descriptor.digest)
            found.append(f"blob {descriptor.digest}: {reason}")
    for name in sorted(os.listdir(layers.directory)):
        path = os.path.join(layers.directory, name)
        reason = _bad_layer(path) if name.endswith(SQUASHFS) else _bad_record(path) if name.endswith(".json") else None
        if reason:
            _unlink(path)
            found.append(f"layer {name}: {reason}")
    for chain in sorted(disks.chains()):
        reason = _bad_disk(os.path.join(disks.directory, chain), layers.directory)
        if reason:
            disks.remove(chain)
            found.append(f"disk {chain}: {reason}")
    return found


def _descriptors(content: ContentStore) -> Iterator[Descriptor]:
    """Every blob that an image may have, documents before what they lead to; each once."""
    pending, seen = list(content.references().values()), set()
    while pending:
        descriptor = pending.pop()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        yield descriptor
        if descriptor.media_type in INDEXES + MANIFESTS:
            with contextlib.suppress(ContainerError, TypeError):
                document = content.document(descriptor.digest)
                children = document.get("manifests") or [document.get("config"), *document.get("layers", [])]
                pending += image.descriptors(children, descriptor.digest)


def _bad_blob(path: str, descriptor: Descriptor) -> str | None:
    try:
        size = os.stat(path).st_size
        if size != descriptor.size:
            return f"it has {size} bytes instead of {descriptor.size}"
        if descriptor.media_type in INDEXES + MANIFESTS:
            with open(path, "rb") as file:
                if digests.of(file.read()) != descriptor.digest:
                    return "its contents have another digest"
    except FileNotFoundError:
        return None  # of a platform that is not here
    except OSError as error:
        return f"it cannot be read: {os_reason(error)}"
    return None


def _bad_layer(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            head = file.read(_BYTES_USED_OFFSET + _BYTES_USED.size)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        return f"it cannot be read: {os_reason(error)}"
    if not head.startswith(_MAGIC) or len(head) < _BYTES_USED_OFFSET + _BYTES_USED.size:
        return "it is not a squashfs"
    (used,) = _BYTES_USED.unpack_from(head, _BYTES_USED_OFFSET)
    return f"it has {size} bytes instead of {used}" if size < used else None


def _bad_record(path: str) -> str | None:
    try:
        atomic.read_json(path)
    except ContainerError as error:
        return error.message
    return None


def _bad_disk(base: str, layers: str) -> str | None:
    """A disk whose record, table or descriptor is missing, or one of whose layers is missing or has another size."""
    if not all(os.path.exists(base + suffix) for suffix in (".vmdk", ".gpt")):
        return "it is incomplete"
    try:
        for name, size in atomic.read_json(f"{base}.json"):
            if os.stat(os.path.join(layers, name)).st_size != size:
                return f"its layer {name} has another size"
    except OSError as error:
        return f"its layer {error.filename} cannot be read: {os_reason(error)}"
    except (ContainerError, TypeError, ValueError) as error:
        return f"its record cannot be read: {error}"
    return None


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
