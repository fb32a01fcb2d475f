"""Ids of containers, and the names that follow from them (contract 1.7 and 5)."""

import re
import uuid

from container.errors import invalid_argument

_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
MAX_LENGTH = 63
_RULE = "2 to 63 letters, digits, `_`, `.` or `-`, a letter or digit first"


def choose_id(asked: str | None) -> str:
    """The id for a new container: the one asked for, else a lower-case UUID.

    Raises ContainerError(invalidArgument) `container ID X is not a valid container ID`.
    """
    if asked is None:
        return str(uuid.uuid4())
    if len(asked) > MAX_LENGTH or not _ID.fullmatch(asked):
        raise invalid_argument(f"container ID {asked} is not a valid container ID: {_RULE}")
    return asked


def dns_name(id: str, domain: str | None) -> str:
    """Name of the container on its first network; one with a final dot is fully qualified."""
    if "." in id:
        return f"{id}."
    return f"{id}.{domain}." if domain else id
