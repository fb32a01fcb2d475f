"""Garbage collection: what no image, container or running task refers to goes; and how much that would be."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from container.errors import ContainerError, ErrorCode
from container.model.image import Descriptor
from container.oci import image
from container.oci.content import ContentStore
from container.oci.digest import chain_id, hex_of
from container.oci.layers import LayerStore
from container.oci.rootfs import DiskStore


@dataclass(frozen=True)
class Collected:
    """What a collection did: bytes that it freed, digests of the blobs that it removed, sorted."""

    freed: int
    digests: list[str]


@dataclass
class _Reached:
    blobs: set[str] = field(default_factory=set)
    diff_ids: set[str] = field(default_factory=set)
    chains: set[str] = field(default_factory=set)  # hex


def collect(content: ContentStore, layers: LayerStore, disks: DiskStore, roots: Iterable[Descriptor]) -> Collected:
    """Remove blobs, layers and disks that the indexes `roots` do not lead to.

    Raises ContainerError(internal), and removes nothing, when one of their documents cannot be read.
    """
    reached = _reach(content, roots)
    freed = _collect_made(layers, disks, reached)
    digests = sorted(digest for digest in content.digests() if digest not in reached.blobs)
    freed += sum(content.remove(digest) for digest in digests)
    return Collected(freed, digests)


def collect_made(content: ContentStore, layers: LayerStore, disks: DiskStore, roots: Iterable[Descriptor]) -> int:
    """Remove only what can be made again from the blobs: layers and disks; returns the bytes that this freed."""
    return _collect_made(layers, disks, _reach(content, roots))


def measure(
    content: ContentStore, layers: LayerStore, disks: DiskStore, roots: Iterable[Descriptor]
) -> tuple[int, int]:
    """Allocated bytes of all blobs, layers and disks, and of those that the indexes `roots` do not lead to."""
    reached = _reach(content, roots)
    diff_ids = {hex_of(diff_id) for diff_id in reached.diff_ids}
    total = unreached = 0
    for path, kept in [
        *((content.path(digest), digest in reached.blobs) for digest in content.digests()),
        *((path, name[:64] in diff_ids) for path, name in _files(layers.directory)),
        *((path, name[:64] in reached.chains) for path, name in _files(disks.directory)),
    ]:
        try:
            size = os.stat(path).st_blocks * 512
        except FileNotFoundError:  # collected meanwhile
            continue
        total += size
        unreached += 0 if kept else size
    return total, unreached


def _collect_made(layers: LayerStore, disks: DiskStore, reached: _Reached) -> int:
    freed = sum(disks.remove(chain) for chain in disks.chains() - reached.chains)  # before the layers they are made of
    return freed + layers.collect(reached.diff_ids)


def _files(directory: str) -> Iterator[tuple[str, str]]:
    for name in os.listdir(directory):
        if not name.startswith("."):
            yield os.path.join(directory, name), name


def _reach(content: ContentStore, roots: Iterable[Descriptor]) -> _Reached:
    reached = _Reached()
    for root in roots:
        reached.blobs |= image.reachable(content, root)
        for stack in _stacks(content, root):
            reached.diff_ids.update(stack)
            reached.chains.add(hex_of(chain_id(stack)))
    return reached


def _stacks(content: ContentStore, root: Descriptor) -> list[list[str]]:
    """The diff-ids of each platform; what is malformed has none."""
    found = []
    try:
        for variant in image.variants(content, root):
            stack = variant.diff_ids()
            for diff_id in stack:
                hex_of(diff_id)
            found.append(stack)
    except ContainerError as error:
        if error.code is ErrorCode.INTERNAL:  # it cannot be read: nobody knows what it needs
            raise
    return found
