"""The mounts of a request: what they may ask for, and which volumes they are about. Pure functions."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model.container import ContainerConfiguration, ContainerRequest
from container.model.mount import Mount
from container.model.volume import BLOCK_FORMAT

TMPFS, BIND, VOLUME = "tmpfs", "virtiofs", "volume"
KINDS = (TMPFS, BIND, VOLUME)
# `nocopy`: the image's files stay out of an empty volume. `cached`, `delegated`: changes of the host may be seen a
# second late. `inotify`: they are told to inotify(7) inside. The others say what is so anyway, or mean nothing here.
OPTIONS = {"ro", "rw", "nocopy", "cached", "delegated", "inotify"}
IDS, ID_MAX = ("uid", "gid"), (1 << 32) - 2  # who the source's owner is inside
IGNORED = {"z", "Z", "consistent", "private", "rprivate", "slave", "rslave", "rbind", "bind"}
LATER = ("idmap", "shared", "rshared")


class VolumeDirectory(Protocol):
    """Which volumes there are (the volumes service)."""

    async def resolve(self, mounts: list[Mount]) -> tuple[list[Mount], list[str]]:
        """The mounts with their volumes' sources, and the names of the volumes that were made for them."""


def check(mounts: Iterable[Mount]) -> None:
    """Raises ContainerError(invalidArgument, unsupported) for a mount that cannot be made."""
    seen: set[str] = set()
    for mount in mounts:
        where = mount.destination
        if mount.kind not in KINDS:
            raise ContainerError(ErrorCode.UNSUPPORTED, f"unsupported mount type {mount.kind}")
        if not where.startswith("/") or "\0" in where:
            raise invalid_argument(f"mount destination must be an absolute path: {where}")
        place = where.rstrip("/")
        if not place:
            raise invalid_argument("nothing can be mounted over the container's root directory; choose another target")
        if place in seen:
            raise invalid_argument(f"two mounts have the destination {place}")
        seen.add(place)
        if mount.kind != TMPFS:
            _check_options(mount)
        if mount.kind == BIND and not mount.source.startswith("/"):
            raise invalid_argument(f"mount source must be an absolute path: {mount.source}")


def _check_options(mount: Mount) -> None:
    for option in mount.options:
        key, equals, value = option.partition("=")
        if key in IDS and equals and mount.kind == BIND:
            if not value.isascii() or not value.isdigit() or int(value) > ID_MAX:
                raise invalid_argument(f"invalid mount option '{option}' of {mount.destination}: it is not an id")
            continue
        if key in LATER or key in IDS:
            raise ContainerError(
                ErrorCode.UNSUPPORTED, f"mount option '{option}' of {mount.destination} is not supported"
            )
        if option not in OPTIONS | IGNORED:
            raise invalid_argument(f"unknown mount option '{option}' of {mount.destination}")


def watched(mounts: Iterable[Mount]) -> list[Mount]:
    """The mounts, the host's directories and files among them with the option `inotify`."""
    return [
        replace(mount, options=[*mount.options, "inotify"])
        if mount.kind == BIND and "inotify" not in mount.options
        else mount
        for mount in mounts
    ]


def name_anonymous(request: ContainerRequest) -> ContainerRequest:
    """The request with a name for each volume that has none: a UUID."""
    return replace(request, mounts=[_named(mount) for mount in request.mounts])


def _named(mount: Mount) -> Mount:
    if mount.kind != VOLUME or mount.source:
        return replace(mount, detail={"name": mount.source}) if mount.kind == VOLUME else mount
    return replace(mount, detail={"name": str(uuid.uuid4()), "anonymous": True})


def names(mounts: Iterable[Mount]) -> list[str]:
    """Names of the volumes that mounts refer to."""
    return [str(mount.detail["name"]) for mount in mounts if mount.kind == VOLUME and "name" in mount.detail]


def exclusive(configuration: ContainerConfiguration) -> set[str]:
    """Names of the volumes that no other container may have at the same time."""
    return {
        str(mount.detail.get("name"))
        for mount in configuration.mounts
        if mount.kind == VOLUME and mount.detail.get("format", BLOCK_FORMAT) == BLOCK_FORMAT
    }
