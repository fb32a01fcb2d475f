"""Volumes: storage that outlives containers (contract 3.4)."""

from dataclasses import dataclass, field

ANONYMOUS_LABEL = "com.apple.container.resource.anonymous"
BLOCK_FORMAT, DIRECTORY_FORMAT = "ext4", "directory"


@dataclass(frozen=True)
class VolumeConfiguration:
    """The record of a volume.

    `format` is `ext4` for a disk image, which one running container at a time can have, or `directory`, which is
    shared; `source` is the path of the image or of the directory, `size_in_bytes` the nominal size of an image.
    """

    name: str
    source: str
    creation_date: str
    driver: str = "local"
    format: str = BLOCK_FORMAT
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    size_in_bytes: int | None = None


@dataclass(frozen=True)
class Volume:
    """A volume as `list` and `inspect` show it."""

    id: str
    configuration: VolumeConfiguration


@dataclass(frozen=True)
class VolumeRequest:
    """`volume create` as the user typed it; `options` are `size`, `journal` and `type`."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
