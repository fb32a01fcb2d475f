"""Images: platforms, descriptors, image configurations, and the root file system that an image becomes."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Platform:
    """`os/architecture[/variant]`, normalised (contract 1.11)."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        parts = [self.os, self.architecture, *([self.variant] if self.variant else [])]
        return "/".join(parts)


@dataclass(frozen=True)
class Descriptor:
    """OCI content descriptor (image-spec, descriptor.md); `size` in bytes."""

    media_type: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str | None = None


@dataclass(frozen=True)
class ImageDescription:
    """What a container remembers of its image."""

    reference: str
    descriptor: Descriptor


@dataclass(frozen=True)
class ImageVariant:
    """One platform of an image whose content is here; `size` = manifest + config + compressed layers, in bytes."""

    platform: Platform
    digest: str
    size: int
    config: dict[str, Any]  # the OCI image config, as stored


@dataclass(frozen=True)
class ImageConfiguration:
    """Name and index descriptor of an image."""

    name: str
    creation_date: str
    descriptor: Descriptor


@dataclass(frozen=True)
class Image:
    """An image (contract 3.2); `id` = 64 hex digits of the index digest."""

    id: str
    configuration: ImageConfiguration
    variants: list[ImageVariant]


@dataclass(frozen=True)
class RootfsLayer:
    """One layer as the guest finds it: GPT partition `partition` (from 1) of the image disk, holding a squashfs."""

    partition: int
    diff_id: str
    size: int


@dataclass(frozen=True)
class Rootfs:
    """An image made ready to boot: one read-only disk with a partition per layer, the lowest layer first."""

    image: ImageDescription
    platform: Platform
    disk: str  # path of the VMDK descriptor
    layers: list[RootfsLayer]
    config: dict[str, Any] = field(default_factory=dict)  # the `config` object of the OCI image config


@dataclass(frozen=True)
class DeleteResult:
    """`failed` maps a reference as typed to why it stays; `reclaimed` in bytes."""

    deleted: list[str]
    failed: dict[str, str]
    reclaimed: int


@dataclass(frozen=True)
class PruneResult:
    """References that lost their name and digests of the blobs that went; `reclaimed` in bytes."""

    untagged: list[str]
    deleted: list[str]
    reclaimed: int
