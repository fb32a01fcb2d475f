"""The content store: blobs by digest, images by reference, laid out as an OCI image layout (image-layout.md).

`index.json` holds the images, each with its reference in the annotation `NAMES[0]`. Blobs are immutable; they arrive in
an `Ingest`, hashed while they are written beside the store, and are renamed into it when all of it is right. Whatever
a crash leaves is either complete or swept. Everything here blocks on local I/O.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from typing import Any

from container.errors import ContainerError, ErrorCode, internal, invalid_argument, not_found, os_reason
from container.model import codec
from container.model.image import Descriptor
from container.oci.digest import hex_of
from container.oci.mediatypes import INDEX
from container.store import atomic

NAMES = (
    "com.apple.containerization.image.name",
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
)
LAYOUT = b'{"imageLayoutVersion": "1.0.0"}\n'
MAX_DOCUMENT = 8 << 20  # bytes of a manifest, index or config


class ContentStore:
    """The blobs and references below `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._blobs = os.path.join(directory, "blobs", "sha256")
        self._ingest = os.path.join(directory, "ingest")
        self._index = os.path.join(directory, "index.json")

    def open(self) -> None:
        """Make the directories that are missing, and sweep what a crash left. Raises ContainerError(internal)."""
        try:
            shutil.rmtree(self._ingest, ignore_errors=True)
            for directory in (self._blobs, self._ingest):
                os.makedirs(directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise internal(f"cannot create the image store {self.directory}: {os_reason(error)}") from error
        atomic.sweep(self.directory)
        atomic.write(os.path.join(self.directory, "oci-layout"), LAYOUT)

    def path(self, digest: str) -> str:
        """Where a blob is, or would be. Raises ContainerError(invalidArgument)."""
        return os.path.join(self._blobs, hex_of(digest))

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here, with the right size."""
        try:
            return os.stat(self.path(descriptor.digest)).st_size == descriptor.size
        except OSError:
            return False

    def document(self, digest: str) -> dict[str, Any]:
        """A JSON object among the blobs. Raises ContainerError: notFound; invalidArgument for anything else."""
        return read_document(self.path(digest), digest)

    def references(self) -> dict[str, Descriptor]:
        """The images by reference, sorted. Raises ContainerError(internal) when the index cannot be read."""
        if not os.path.exists(self._index):
            return {}
        found = {}
        try:
            for item in atomic.read_json(self._index)["manifests"]:
                annotations = item.pop("annotations")
                found[annotations[NAMES[0]]] = codec.decode(Descriptor, item)
        except ContainerError as error:
            if error.code is ErrorCode.INTERNAL:
                raise
            raise internal(f"cannot read {self._index}: malformed: {error.message}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise internal(f"cannot read {self._index}: malformed: {error}") from error
        return dict(sorted(found.items()))

    def set_references(self, references: dict[str, Descriptor]) -> None:
        """Replace the images. Raises ContainerError(internal) and leaves them as they were when that fails."""
        manifests = [
            {**codec.encode(descriptor), "annotations": dict.fromkeys(NAMES, name)}
            for name, descriptor in sorted(references.items())
        ]
        atomic.write_json(self._index, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})

    def digests(self) -> list[str]:
        """Every blob that is here."""
        return [f"sha256:{name}" for name in os.listdir(self._blobs) if len(name) == 64]

    def remove(self, digest: str) -> int:
        """Remove a blob; returns the bytes that this freed."""
        path = self.path(digest)
        with contextlib.suppress(FileNotFoundError):
            size = os.stat(path).st_blocks * 512
            os.unlink(path)
            return size
        return 0

    def sync(self) -> None:
        """Make the names of blobs durable. Raises ContainerError(internal)."""
        try:
            atomic.sync_directory(self._blobs)
        except OSError as error:
            raise internal(f"cannot add to the image store {self.directory}: {os_reason(error)}") from error

    def ingest(self) -> "Ingest":
        """A session that takes blobs in."""
        return Ingest(self, os.path.join(self._ingest, os.urandom(8).hex()))


class Ingest:
    """Blobs on their way into the store. A context manager: what is not committed is removed."""

    def __init__(self, store: ContentStore, directory: str) -> None:
        self._store = store
        self._directory = directory

    def __enter__(self) -> "Ingest":
        try:
            os.mkdir(self._directory, 0o700)
        except OSError as error:
            raise internal(f"cannot create {self._directory}: {os_reason(error)}") from error
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def add(self, chunks: Iterable[bytes | memoryview], digest: str | None, what: str) -> tuple[str, int]:
        """Take a blob; returns its digest and size.

        Raises ContainerError: invalidArgument when it does not have the `digest` it is said to have, internalError when
        it cannot be written; `what` names it in both.
        """
        temporary = os.path.join(self._directory, "incoming")
        hasher, size = hashlib.sha256(), 0
        try:
            with open(temporary, "wb", buffering=0) as file:
                for chunk in chunks:
                    hasher.update(chunk)
                    size += len(chunk)
                    view = memoryview(chunk)
                    while view:
                        view = view[file.write(view) :]
                os.fsync(file.fileno())
            found = f"sha256:{hasher.hexdigest()}"
            if digest is not None and digest != found:
                raise invalid_argument(f"{what} is corrupt: its contents have the digest {found}")
            os.rename(temporary, os.path.join(self._directory, hasher.hexdigest()))
        except OSError as error:
            raise internal(f"cannot store {what}: {os_reason(error)}") from error
        return found, size

    def add_document(self, value: dict[str, Any], media_type: str) -> Descriptor:
        """Take a JSON document."""
        data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
        digest, size = self.add([data], None, media_type)
        return Descriptor(media_type, digest, size)

    def path(self, digest: str) -> str:
        """Where a blob of this session or of the store is."""
        path = os.path.join(self._directory, hex_of(digest))
        return path if os.path.exists(path) else self._store.path(digest)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is in this session or in the store, with the right size.

        One of the store becomes one of this session as well: garbage collection may take it from the store.
        """
        path = os.path.join(self._directory, hex_of(descriptor.digest))
        try:
            if not os.path.exists(path):
                os.link(self._store.path(descriptor.digest), path)
            return os.stat(path).st_size == descriptor.size
        except OSError:
            return False

    def document(self, digest: str) -> dict[str, Any]:
        """As `ContentStore.document`, of this session or of the store."""
        return read_document(self.path(digest), digest)

    def commit(self, digests: Iterable[str]) -> None:
        """Move the named blobs of this session into the store. Raises ContainerError(internal)."""
        try:
            for digest in digests:
                with contextlib.suppress(FileNotFoundError):  # already there before this session
                    os.rename(os.path.join(self._directory, hex_of(digest)), self._store.path(digest))
        except OSError as error:
            raise internal(f"cannot add to the image store {self._store.directory}: {os_reason(error)}") from error
        self._store.sync()


def read_document(path: str, digest: str) -> dict[str, Any]:
    """The JSON object in a blob, which must have at most `MAX_DOCUMENT` bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except FileNotFoundError as error:
        raise not_found(f"blob {digest} is not in the image store") from error
    except OSError as error:
        raise internal(f"cannot read {path}: {os_reason(error)}") from error
    return parse_document(data, f"blob {digest}")


def parse_document(data: bytes, what: str) -> dict[str, Any]:
    """`data` as a JSON object. Raises ContainerError(invalidArgument)."""
    try:
        value = json.loads(data) if len(data) <= MAX_DOCUMENT else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise invalid_argument(f"{what} is not a JSON object of at most {MAX_DOCUMENT} bytes")
    return value
