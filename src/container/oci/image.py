"""What an image consists of: its index, manifests and configs, read from blobs (OCI image-spec)."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model import codec
from container.model import platform as platforms
from container.model.image import Descriptor, Platform
from container.oci.mediatypes import INDEXES

MAX_DEPTH = 4  # of indexes in indexes
UNKNOWN_DATE = "1970-01-01T00:00:00Z"


class Blobs(Protocol):
    """Where documents come from: the content store, or blobs on their way into it."""

    def document(self, digest: str) -> dict[str, Any]:
        """A JSON object by digest, or ContainerError(notFound)."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob is there."""


@dataclass(frozen=True)
class Variant:
    """One platform of an image; `layers` the lowest first, `diff_ids` likewise."""

    platform: Platform
    manifest: Descriptor
    config: Descriptor
    layers: list[Descriptor]
    document: dict[str, Any]  # the OCI image config, as stored

    @property
    def size(self) -> int:
        """Bytes of manifest, config and compressed layers."""
        return self.manifest.size + self.config.size + sum(layer.size for layer in self.layers)

    @property
    def blobs(self) -> list[Descriptor]:
        """Everything that this platform needs."""
        return [self.manifest, self.config, *self.layers]

    def diff_ids(self) -> list[str]:
        """Digests of the uncompressed layers. Raises ContainerError(invalidArgument) when the layers have others."""
        rootfs = self.document.get("rootfs")
        found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(found, list) or len(found) != len(self.layers):
            raise invalid_argument(
                f"image config {self.config.digest} does not have one diff-id for each of {len(self.layers)} layers"
            )
        return [str(item) for item in found]


def variants(blobs: Blobs, top: Descriptor) -> list[Variant]:
    """The platforms of an image whose manifest and config are here; attestations are left out.

    Raises ContainerError(invalidArgument) for documents that are not what they should be.
    """
    found = []
    for descriptor in manifests(blobs, top):
        if descriptor.platform is not None and descriptor.platform.os == "unknown":
            continue
        try:
            found.append(variant(blobs, descriptor))
        except ContainerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
    return found


def manifests(blobs: Blobs, top: Descriptor, depth: int = 0) -> Iterator[Descriptor]:
    """The manifests that an index leads to, here or not, in order."""
    if top.media_type not in INDEXES:
        yield top
        return
    if depth > MAX_DEPTH:
        raise invalid_argument(f"index {top.digest} is nested too deeply")
    document = blobs.document(top.digest)
    for descriptor in descriptors(document.get("manifests"), f"index {top.digest}"):
        if descriptor.media_type not in INDEXES:
            yield descriptor
            continue
        try:
            yield from manifests(blobs, descriptor, depth + 1)
        except ContainerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise


def variant(blobs: Blobs, manifest: Descriptor) -> Variant:
    """What a manifest and its config say. Raises ContainerError: notFound when one is not here, invalidArgument."""
    document = blobs.document(manifest.digest)
    where = f"manifest {manifest.digest}"
    (config,) = descriptors([document.get("config")], where)
    layers = descriptors(document.get("layers"), where)
    image = blobs.document(config.digest)
    platform = manifest.platform or Platform(str(image.get("os")), str(image.get("architecture")), image.get("variant"))
    return Variant(normalised(platform), manifest, config, layers, image)


def descriptors(value: Any, where: str) -> list[Descriptor]:
    """Content descriptors from JSON. Raises ContainerError(invalidArgument) that begins with `where`."""
    if not isinstance(value, list):
        raise invalid_argument(f"{where} is malformed: expected a list of descriptors")
    return [codec.decode(Descriptor, item, where) for item in value]


def reachable(blobs: Blobs, top: Descriptor) -> set[str]:
    """Digests of all blobs that an image may use, whether they are here or not; a malformed document uses nothing.

    Raises ContainerError(internal) for one that cannot be read: nobody knows what it uses.
    """
    found = {top.digest}
    try:
        document = blobs.document(top.digest)
        if "manifests" in document:
            for child in descriptors(document["manifests"], "index"):
                found |= reachable(blobs, child)
        elif "layers" in document:
            children = descriptors([document.get("config"), *document["layers"]], "manifest")
            found.update(child.digest for child in children)
    except TypeError:
        pass
    except ContainerError as error:
        if error.code is ErrorCode.INTERNAL:
            raise
    return found


def choose(found: list[Variant], wanted: Platform) -> Variant | None:
    """The best match for a platform: the same variant, or on arm the highest one that it can run."""
    at = best([item.platform for item in found], wanted)
    return None if at is None else found[at]


def best(offered: list[Platform], wanted: Platform) -> int | None:
    """The index of the best match among normalised platforms, as `choose` says."""
    wanted = normalised(wanted)
    same = [at for at, item in enumerate(offered) if (item.os, item.architecture) == (wanted.os, wanted.architecture)]
    exact = [at for at in same if offered[at].variant == wanted.variant]
    if exact or wanted.architecture != "arm":
        return next(iter(exact), None)
    older = [at for at in same if (offered[at].variant or "") < (wanted.variant or "")]
    return max(older, key=lambda at: offered[at].variant or "", default=None)


def normalised(platform: Platform) -> Platform:
    """Canonical spelling; a platform that no rule fits stays as it is."""
    try:
        return Platform(*platforms.normalise(platform.os, platform.architecture, platform.variant))
    except ContainerError:
        return platform


def creation_date(found: list[Variant]) -> str:
    """The earliest creation date of the platforms as `2026-01-02T03:04:05Z`, `UNKNOWN_DATE` when there is none."""
    dates = [date for item in found if (date := _date(item.document.get("created")))]
    return f"{min(dates).replace(tzinfo=None).isoformat()}Z" if dates else UNKNOWN_DATE  # strftime: year 1, not 0001


def _date(text: Any) -> datetime.datetime | None:
    try:
        date = datetime.datetime.fromisoformat(text[:19] + text[19:].lstrip(".0123456789"))
        return date.astimezone(datetime.UTC)
    except (TypeError, ValueError, OverflowError):
        return None
