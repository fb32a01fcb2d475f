"""Which containers use which images: the API server says it, and when it does not answer, the bundles on disk do."""

import os
from dataclasses import dataclass

from container import paths
from container.api.containers import Containers
from container.errors import ContainerError, internal, os_reason
from container.ipc.client import Client
from container.model import codec
from container.model.image import ImageDescription
from container.paths import Roots
from container.plugins.images.tasks import in_thread
from container.store import atomic

_TIMEOUT = 10.0


@dataclass(frozen=True)
class Use:
    """A container and the image that it was made from."""

    container: str
    image: ImageDescription


async def containers(roots: Roots) -> list[Use]:
    """Every container, running or stopped.

    Raises ContainerError(internal) when the API server does not answer and a bundle cannot be read: an image is then
    taken for used.
    """
    try:
        snapshots = await Client(roots.socket(paths.APISERVER), timeout=_TIMEOUT).call(Containers.List, all=True)
    except ContainerError:
        return await on_disk(roots)
    return [Use(item.id, item.configuration.image) for item in snapshots]


async def on_disk(roots: Roots) -> list[Use]:
    """The same from the bundles alone. Raises ContainerError(internal) when one cannot be read."""
    return await in_thread(_bundles, os.path.dirname(roots.bundle("any")))


def _bundles(directory: str) -> list[Use]:
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise internal(f"cannot tell which images are in use: cannot read {directory}: {os_reason(error)}") from error
    return [_bundle(directory, name) for name in names]


def _bundle(directory: str, name: str) -> Use:
    path = os.path.join(directory, name, "config.json")
    try:
        return Use(name, codec.decode(ImageDescription, atomic.read_json(path)["image"], "image"))
    except (ContainerError, KeyError, TypeError) as error:
        raise internal(
            f"cannot tell which images are in use: {path} cannot be read, and the API server does not answer: {error}"
        ) from error
