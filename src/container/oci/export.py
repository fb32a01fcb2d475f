"""Writing images as an OCI image layout in an uncompressed tar, to a stream.

It is a docker-archive as well: its `manifest.json` shows one platform of each image to tools that know no layouts.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from container.errors import internal, os_reason
from container.model import codec
from container.model import platform as platforms
from container.model import reference as references
from container.model.image import Descriptor, Platform
from container.oci import digest as digests
from container.oci import tarheader
from container.oci.compression import CHUNK
from container.oci.content import LAYOUT, NAMES, ContentStore
from container.oci.digest import hex_of
from container.oci.image import Variant, choose, reachable, variants
from container.oci.mediatypes import INDEX
from container.oci.tarheader import Entry

Write = Callable[[bytes | memoryview], None]


@dataclass(frozen=True)
class Export:
    """One image to write: its name, its index, the stored blobs it needs, and an index made for this, if any.

    `shown` is the platform that a docker-archive has of it.
    """

    name: str
    descriptor: Descriptor
    digests: list[str]
    shown: Variant | None
    made: bytes | None = None


def whole(content: ContentStore, name: str, descriptor: Descriptor) -> Export:
    """An image with all its content that is here."""
    digests = sorted(digest for digest in reachable(content, descriptor) if _is_here(content, digest))
    found = [item for item in variants(content, descriptor) if all(content.has(blob) for blob in item.blobs)]
    shown = found[0] if len(found) == 1 else choose(found, Platform("linux", platforms.host_architecture()))
    return Export(name, descriptor, digests, shown)


def limited(name: str, variant: Variant) -> Export:
    """One platform of an image, under an index of its own."""
    manifest = replace(variant.manifest, platform=variant.platform)
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [codec.encode(manifest)]}
    data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    descriptor = Descriptor(INDEX, digests.of(data), len(data))
    return Export(name, descriptor, [blob.digest for blob in variant.blobs], variant, data)


def write(output: Write, content: ContentStore, exports: list[Export], progress: Callable[[int], None]) -> None:
    """Write the archive; `progress` is told the bytes of each step. Raises ContainerError(internal)."""

    def put(data: bytes | memoryview) -> None:
        output(data)
        progress(len(data))

    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {**codec.encode(export.descriptor), "annotations": dict.fromkeys(NAMES, export.name)} for export in exports
        ],
    }
    _file(put, "oci-layout", LAYOUT)
    _file(put, "index.json", json.dumps(index, sort_keys=True).encode())
    _file(put, "manifest.json", json.dumps([_docker(export) for export in exports if export.shown]).encode())
    for directory in ("blobs", "blobs/sha256"):
        put(tarheader.build(Entry(directory.encode(), tarheader.DIRECTORY, mode=0o755)))
    written: set[str] = set()
    for export in exports:
        if export.made is not None and export.descriptor.digest not in written:
            _file(put, _blob_name(export.descriptor.digest), export.made)
            written.add(export.descriptor.digest)
        for digest in export.digests:
            if digest not in written:
                _blob(put, content, digest)
                written.add(digest)
    put(tarheader.ZERO_BLOCK * 2)


def _docker(export: Export) -> dict[str, Any]:
    assert export.shown is not None
    return {
        "Config": _blob_name(export.shown.config.digest),
        "RepoTags": [export.name] if references.parse(export.name).tag else None,
        "Layers": [_blob_name(layer.digest) for layer in export.shown.layers],
    }


def _file(put: Write, name: str, data: bytes) -> None:
    put(tarheader.build(Entry(name.encode(), size=len(data))) + data + tarheader.padding(len(data)))


def _blob(put: Write, content: ContentStore, digest: str) -> None:
    path = content.path(digest)
    try:
        with open(path, "rb", buffering=0) as file:
            size = file.seek(0, 2)
            file.seek(0)
            put(tarheader.build(Entry(_blob_name(digest).encode(), size=size)))
            for chunk in _chunks(file.read):
                put(chunk)
            put(tarheader.padding(size))
    except OSError as error:
        raise internal(f"cannot read {path}: {os_reason(error)}") from error


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(CHUNK):
        yield chunk


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _is_here(content: ContentStore, digest: str) -> bool:
    return os.path.exists(content.path(digest))
