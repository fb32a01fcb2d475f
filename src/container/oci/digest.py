"""Content digests (OCI image-spec, descriptor.md#digests); this store knows sha256."""

import hashlib
import re

from container.errors import ContainerError, ErrorCode, invalid_argument

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_ANY = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+")


def hex_of(digest: str) -> str:
    """The 64 hex digits. Raises ContainerError: invalidArgument, or unsupported for another algorithm."""
    match = _SHA256.fullmatch(digest)
    if match:
        return match.group(1)
    if _ANY.fullmatch(digest) and not digest.startswith("sha256:"):
        raise ContainerError(ErrorCode.UNSUPPORTED, f"digest {digest} uses an algorithm other than sha256")
    raise invalid_argument(f"invalid digest {digest}")


def of(data: bytes) -> str:
    """The digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chain_id(diff_ids: list[str]) -> str:
    """ChainID of a stack of layers, the lowest first (image-spec, config.md#layer-chainid)."""
    if not diff_ids:
        return of(b"")
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = of(f"{chain} {diff_id}".encode())
    return chain
