"""The images of an archive that was read: an OCI image layout, or what `docker save` writes (docker-archive).

Both become OCI: every image is an index, a lone manifest gets one of its own, docker's configs and layers are described
by an OCI manifest and stay byte for byte what they are.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from container.errors import ContainerError, invalid_argument
from container.model import codec, reference
from container.model.image import Descriptor, Platform
from container.oci import compression, image
from container.oci.archive import Contents
from container.oci.content import NAMES, Ingest, parse_document
from container.oci.mediatypes import CONFIG, INDEX, INDEXES, LAYER, MANIFEST, MANIFESTS


@dataclass(frozen=True)
class Found:
    """An image of an archive: its names as the archive gives them, its index, its platforms, complete ones only."""

    names: list[str]
    descriptor: Descriptor
    variants: list[image.Variant]


def images(contents: Contents, ingest: Ingest) -> list[Found]:
    """The images of an archive, made OCI. Raises ContainerError(invalidArgument) when it has none or lacks a part."""
    if "index.json" in contents.documents and "oci-layout" in contents.documents:
        tops = list(_layout(contents))
    elif "manifest.json" in contents.documents:
        tops = list(_docker(contents, ingest))
    else:
        raise invalid_argument(
            "cannot load the archive: it is neither an OCI image layout nor a docker archive, for it has no index.json"
        )
    if not tops:
        raise invalid_argument("cannot load the archive: it has no images")
    return [_found(names, descriptor, ingest) for names, descriptor in tops]


def name_of(annotations: dict[str, str] | None) -> str | None:
    """The name that annotations give an image (contract 2.5)."""
    return next((annotations[key] for key in NAMES if annotations.get(key)), None) if annotations else None


def full_reference(names: list[str], descriptor: Descriptor, domain: str) -> list[str]:
    """Normalised references for an image's names; one that has none, or no valid one, is `untagged@…`."""
    found = []
    for name in names:
        try:
            found.append(reference.normalise(name, domain))
        except ContainerError:
            continue
    return found or [reference.untagged(descriptor.digest)]


def _layout(contents: Contents) -> Iterator[tuple[list[str], Descriptor]]:
    document = parse_document(contents.documents["index.json"], "index.json of the archive")
    for descriptor in image.descriptors(document.get("manifests"), "index.json of the archive"):
        name = name_of(descriptor.annotations)
        yield [name] if name else [], replace(descriptor, annotations=None)


def _found(names: list[str], descriptor: Descriptor, ingest: Ingest) -> Found:
    """The image behind one descriptor of an archive, wrapped into an index when it is a manifest."""
    if descriptor.media_type not in INDEXES + MANIFESTS:
        raise invalid_argument(f"cannot load the archive: it has content of the unknown type {descriptor.media_type}")
    if not ingest.has(descriptor):
        raise _incomplete(descriptor)
    if descriptor.media_type in MANIFESTS:
        descriptor = wrapped(ingest, descriptor)
    every = image.variants(ingest, descriptor)
    complete = [item for item in every if all(ingest.has(blob) for blob in item.blobs)]
    if not complete:
        missing = [blob for item in every for blob in item.blobs if not ingest.has(blob)]
        raise _incomplete(missing[0] if missing else descriptor)
    return Found(names, replace(descriptor, platform=None), complete)


def wrapped(ingest: Ingest, descriptor: Descriptor) -> Descriptor:
    """An index of its own for a lone manifest. Raises ContainerError as `image.variant`."""
    document = index_of(descriptor, image.variant(ingest, descriptor).platform)
    return ingest.add_document(document, INDEX)


def index_of(descriptor: Descriptor, platform: Platform) -> dict[str, Any]:
    """The index that a lone manifest gets here."""
    manifest = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, platform=platform)
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": [codec.encode(manifest)]}


def _incomplete(descriptor: Descriptor) -> ContainerError:
    return invalid_argument(
        f"the archive is incomplete: blob {descriptor.digest} of {descriptor.size} bytes is missing or of another size"
    )


def _docker(contents: Contents, ingest: Ingest) -> Iterator[tuple[list[str], Descriptor]]:
    for item in _docker_manifests(contents.documents["manifest.json"]):
        names = item.get("RepoTags") or []
        layers = item.get("Layers") or []
        if not isinstance(names, list) or not isinstance(layers, list):
            raise invalid_argument("cannot load the archive: its manifest.json is malformed")
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": codec.encode(_member(contents, item.get("Config"), CONFIG)),
            "layers": [codec.encode(_layer(contents, layer, ingest)) for layer in layers],
        }
        yield [str(name) for name in names], ingest.add_document(manifest, MANIFEST)


def _docker_manifests(data: bytes) -> list[dict[str, Any]]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid_argument("cannot load the archive: its manifest.json is not a list of images")
    return value


def _layer(contents: Contents, name: Any, ingest: Ingest) -> Descriptor:
    descriptor = _member(contents, name, LAYER)
    with open(ingest.path(descriptor.digest), "rb") as file:
        kind = compression.kind_of(file.read(8))
    return replace(descriptor, media_type=f"{LAYER}+{kind}") if kind else descriptor


def _member(contents: Contents, name: Any, media_type: str) -> Descriptor:
    found = contents.find(name) if isinstance(name, str) else None
    if found is None:
        raise invalid_argument(f"the archive is incomplete: its manifest.json names '{name}', which is missing")
    return Descriptor(media_type, *found)
