"""Files of containers on their way to the host, and what becomes of them."""

import enum
from dataclasses import dataclass, field


class Tree(enum.Enum):
    """What is read of a container's root file system, without what is mounted in it.

    EXPORT: all of it, as a tar stream. LAYER: what the container changed, as the tar stream of an OCI layer. CHANGES:
    the same as records, each a letter (A, C, D), an absolute path and a zero byte, in no order.
    """

    EXPORT = "export"
    LAYER = "layer"
    CHANGES = "changes"


@dataclass(frozen=True)
class CommitOptions:
    """How a new image differs from that of its container, besides the layer; `changes` are Dockerfile instructions."""

    author: str | None = None
    message: str | None = None
    changes: list[str] = field(default_factory=list)
