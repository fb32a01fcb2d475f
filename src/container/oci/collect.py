"""Garbage collection: what no image, container or running task refers to goes."""

from collections.abc import Iterable

from container.errors import ContainerError
from container.model.image import Descriptor
from container.oci import image
from container.oci.content import ContentStore
from container.oci.digest import chain_id, hex_of
from container.oci.layers import LayerStore
from container.oci.rootfs import DiskStore


def collect(content: ContentStore, layers: LayerStore, disks: DiskStore, roots: Iterable[Descriptor]) -> int:
    """Remove blobs, layers and disks that the indexes `roots` do not lead to; returns the bytes that this freed."""
    blobs: set[str] = set()
    diff_ids: set[str] = set()
    chains: set[str] = set()
    for root in roots:
        blobs |= image.reachable(content, root)
        for stack in _stacks(content, root):
            diff_ids.update(stack)
            chains.add(hex_of(chain_id(stack)))
    freed = sum(disks.remove(chain) for chain in disks.chains() - chains)  # before the layers they are made of
    freed += layers.collect(diff_ids)
    return freed + sum(content.remove(digest) for digest in content.digests() if digest not in blobs)


def _stacks(content: ContentStore, root: Descriptor) -> list[list[str]]:
    """The diff-ids of each platform; what is malformed has none."""
    found = []
    try:
        for variant in image.variants(content, root):
            stack = variant.diff_ids()
            for diff_id in stack:
                hex_of(diff_id)
            found.append(stack)
    except ContainerError:
        pass
    return found
