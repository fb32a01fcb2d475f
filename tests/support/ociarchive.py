"""Layers and image archives made in memory, with Python's own tarfile: the other side of what `container.oci` reads."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

PAX = tarfile.PAX_FORMAT


def digest(data: bytes) -> str:
    """`sha256:…` of data."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def member(name: str, data: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A tar member; attributes are TarInfo's, `xattrs` a dict of pax extended attributes."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mtime = 1000
    xattrs = attributes.pop("xattrs", {})
    info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def directory(name: str, mode: int = 0o755, **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A directory member."""
    return member(name, type=tarfile.DIRTYPE, mode=mode, **attributes)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE, **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic link, or a hard link with `kind=tarfile.LNKTYPE`."""
    return member(name, type=kind, linkname=target, **attributes)


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = PAX) -> bytes:
    """An uncompressed tar."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return output.getvalue()


@dataclass
class ImageFiles:
    """The blobs of an image; `layers` are uncompressed tars, the lowest first."""

    layers: list[bytes]
    config: dict[str, Any] = field(default_factory=dict)
    architecture: str = "amd64"
    compress: bool = True
    blobs: dict[str, bytes] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        """The descriptor of the image's manifest; adds all its blobs."""
        layers = [gzip.compress(layer, 1, mtime=0) if self.compress else layer for layer in self.layers]
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if self.compress else "")
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.add(self.config_document(), "application/vnd.oci.image.config.v1+json"),
            "layers": [self.add(layer, kind) for layer in layers],
        }
        platform = {"os": "linux", "architecture": self.architecture}
        return {**self.add(document, str(document["mediaType"])), "platform": platform}

    def config_document(self) -> dict[str, Any]:
        """The image config."""
        return {
            "created": "2026-02-10T08:00:00.123456789Z",
            "architecture": self.architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in self.layers]},
        }

    def add(self, content: bytes | dict[str, Any], media_type: str) -> dict[str, Any]:
        """Add a blob; returns its descriptor."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def layout(*images: tuple[str | None, ImageFiles], extra: tuple[tuple[tarfile.TarInfo, bytes], ...] = ()) -> bytes:
    """An OCI image layout tar; images of the same name become platforms of one index."""
    tops: list[dict[str, Any]] = []
    blobs: dict[str, bytes] = {}
    for name in dict.fromkeys(name for name, _ in images):
        files = [image for other, image in images if other == name]
        manifests = [image.manifest() for image in files]
        top = manifests[0]
        if len(manifests) > 1:
            top = files[0].add({"schemaVersion": 2, "manifests": manifests}, "application/vnd.oci.image.index.v1+json")
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        tops.append({**top, "annotations": annotations})
        for image in files:
            blobs |= image.blobs
    index = json.dumps({"schemaVersion": 2, "manifests": tops}).encode()
    return tar(
        *extra,
        *(member(f"blobs/sha256/{key[7:]}", data) for key, data in blobs.items()),
        member("index.json", index),
        member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    )


def docker_archive(names: list[str], image: ImageFiles) -> bytes:
    """What `docker save` wrote before it wrote OCI layouts; a repeated layer is a symbolic link."""
    config = json.dumps(image.config_document()).encode()
    config_name = f"{digest(config)[7:]}.json"
    paths = [f"{number}/layer.tar" for number, _ in enumerate(image.layers)]
    manifest = json.dumps([{"Config": config_name, "RepoTags": names, "Layers": paths}]).encode()
    members = [member("manifest.json", manifest)]
    for number, layer in enumerate(image.layers):
        first = image.layers.index(layer)
        members.append(member(paths[number], layer) if first == number else link(paths[number], f"../{paths[first]}"))
    return tar(*members, member(config_name, config))
