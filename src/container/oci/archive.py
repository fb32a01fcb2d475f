"""Reading an image archive from a stream: its blobs go into the store while they pass, in whatever order they come.

Nothing is unpacked by name, so that a member can never be written outside the store; a member whose name or link leads
out of the archive is refused all the same, because such an archive was made to deceive.
"""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from container.errors import invalid_argument
from container.oci import compression, tarheader
from container.oci.content import MAX_DOCUMENT, Ingest
from container.oci.tarheader import Entry
from container.oci.tarstream import TarReader

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_DOCUMENTS = ("index.json", "oci-layout", "manifest.json")


@dataclass
class Contents:
    """What an archive holds, by clean member name: stored blobs as (digest, size), small documents as they are."""

    blobs: dict[str, tuple[str, int]] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)

    def find(self, name: str) -> tuple[str, int] | None:
        """The blob stored under a member name, links followed."""
        name = posixpath.normpath(name)
        for _ in range(8):
            if name in self.blobs:
                return self.blobs[name]
            if name not in self.links:
                return None
            name = self.links[name]
        return None


def read(read: compression.Read, ingest: Ingest, force: bool, progress: Callable[[int], None]) -> Contents:
    """Take in an archive, plain or compressed. `progress` is told the bytes read, as they come.

    Raises ContainerError(invalidArgument): not a tar, a blob that is not what its name says, and without `force`
    members with rejected paths; else as `Ingest.add`.
    """

    def counted() -> bytes:
        data = read()
        progress(len(data))
        return data

    contents = Contents()
    with compression.decompressed(counted, "the archive") as plain:
        reader = TarReader(plain)
        for entry in reader:
            _take(entry, reader, contents, ingest)
        if contents.rejected and not force:
            listing = ", ".join(f'"{path}"' for path in contents.rejected)
            raise invalid_argument(
                f"cannot load tar image with rejected paths: [{listing}]; --force loads it without them"
            )
        reader.drain()
    return contents


def _take(entry: Entry, reader: TarReader, contents: Contents, ingest: Ingest) -> None:
    shown = entry.name.decode("utf-8", "surrogateescape")
    name = posixpath.normpath(shown)
    if _leads_out(shown) or entry.kind not in _TAKEN:
        contents.rejected.append(tarheader.show(entry.name))
    elif entry.kind in (tarheader.SYMLINK, tarheader.LINK):
        target = entry.link.decode("utf-8", "surrogateescape")
        if entry.kind == tarheader.SYMLINK and not target.startswith("/"):
            target = posixpath.join(posixpath.dirname(name), target)
        if _leads_out(target):
            contents.rejected.append(tarheader.show(entry.name))
        else:
            contents.links[name] = posixpath.normpath(target)
    elif entry.kind == tarheader.REGULAR:
        _take_file(name, entry, reader, contents, ingest)


def _take_file(name: str, entry: Entry, reader: TarReader, contents: Contents, ingest: Ingest) -> None:
    match = _BLOB.fullmatch(name)
    if match:
        digest = f"sha256:{match.group(1)}"
        contents.blobs[name] = ingest.add(reader.data(), digest, f"blob {digest} of the archive")
    elif name in _DOCUMENTS:
        if entry.size > MAX_DOCUMENT:
            raise invalid_argument(
                f"cannot read the archive: {name} has {entry.size} bytes; at most {MAX_DOCUMENT} are allowed"
            )
        contents.documents[name] = b"".join(reader.data())
    elif name.endswith((".tar", ".json")) or "/" not in name:  # docker's layers and configs
        contents.blobs[name] = ingest.add(reader.data(), None, f"{name} of the archive")


_TAKEN = (tarheader.REGULAR, tarheader.DIRECTORY, tarheader.SYMLINK, tarheader.LINK)


def _leads_out(path: str) -> bool:
    """Whether a member name or link target is absolute or goes above the archive's root."""
    return path.startswith("/") or posixpath.normpath(path).split("/")[0] == ".." or "\0" in path
