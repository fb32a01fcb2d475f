"""One repository of a registry: manifests and blobs, read through mirrors and written (distribution-spec 1.1)."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from container.errors import ContainerError, ErrorCode, internal, invalid_argument
from container.log import fields
from container.model.image import Descriptor
from container.model.reference import Reference
from container.oci import digest as digests
from container.oci.content import MAX_DOCUMENT
from container.oci.mediatypes import INDEX, INDEXES, MANIFEST, MANIFESTS
from container.oci.registry import endpoints
from container.oci.registry.client import RegistryClient, Request
from container.oci.registry.endpoints import Endpoint

if TYPE_CHECKING:
    from aiohttp import ClientResponse

T = TypeVar("T")
_ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Body:
    """The body of a blob from `offset` on, as it comes."""

    chunks: AsyncIterator[bytes]
    offset: int


class Repository:
    """Reads and writes of one repository. Every call raises ContainerError (`failures`)."""

    def __init__(self, client: RegistryClient, reference: Reference, scheme: str) -> None:
        """`reference` is a full one. Raises ContainerError(invalidArgument) for a scheme that is none."""
        self.client = client
        self.path = reference.path
        self._endpoints = endpoints.endpoints(reference.domain or "", scheme, client.settings)

    @property
    def endpoint(self) -> Endpoint:
        """The registry itself."""
        return self._endpoints[-1]

    @property
    def pull_scopes(self) -> tuple[str, ...]:
        """What reading needs a token for."""
        return (f"repository:{self.path}:pull",)

    async def manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        """The manifest or index that a tag or digest names, byte for byte; a digest is checked."""

        async def get(endpoint: Endpoint) -> tuple[Descriptor, bytes]:
            url = endpoint.url(f"{self.path}/manifests/{reference}")
            request = Request("GET", url, self.pull_scopes, {"Accept": _ACCEPT})
            response, data = await self.client.document(endpoint, request, MAX_DOCUMENT)
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
            promised = response.headers.get("Docker-Content-Digest", "")
            return _described(url, reference, kind, promised, data)

        return await self._anywhere(get)

    @asynccontextmanager
    async def blob(self, descriptor: Descriptor, offset: int) -> AsyncIterator[Body]:
        """The bytes of a blob, from `offset` on or, when the registry does not do that, from the start."""
        async with AsyncExitStack() as stack:

            async def get(endpoint: Endpoint) -> "ClientResponse":
                headers = {"Range": f"bytes={offset}-"} if offset else {}
                url = endpoint.url(f"{self.path}/blobs/{descriptor.digest}")
                request = Request("GET", url, self.pull_scopes, headers, accept=(200, 206) if offset else (200,))
                return await stack.enter_async_context(self.client.request(endpoint, request))

            response = await self._anywhere(get)
            start = _start(response, offset)
            yield Body(self.client.chunks(response), start)

    async def document(self, descriptor: Descriptor) -> bytes:
        """A small blob, checked. Raises ContainerError(invalidArgument) for wrong or too many bytes."""
        if descriptor.size > MAX_DOCUMENT:
            raise invalid_argument(f"blob {descriptor.digest} has {descriptor.size} bytes; {MAX_DOCUMENT} are allowed")

        async def get(endpoint: Endpoint) -> bytes:
            url = endpoint.url(f"{self.path}/blobs/{descriptor.digest}")
            _, data = await self.client.document(endpoint, Request("GET", url, self.pull_scopes), MAX_DOCUMENT)
            if digests.of(data) != descriptor.digest:
                raise _wrong(url, digests.of(data))
            return data

        return await self._anywhere(get)

    async def _anywhere(self, ask: Callable[[Endpoint], Awaitable[T]]) -> T:
        """What the first mirror that works answers, else the registry itself."""
        for endpoint in self._endpoints[:-1]:
            try:
                return await ask(endpoint)
            except ContainerError as error:
                _log.warning("a mirror failed", extra=fields(mirror=endpoint.url(""), error=error.describe()))
        return await ask(self.endpoint)


def _described(url: str, reference: str, kind: str, promised: str, data: bytes) -> tuple[Descriptor, bytes]:
    digest = digests.of(data)
    for wanted in (reference, promised):
        if wanted.startswith("sha256:") and wanted != digest:
            raise _wrong(url, digest)
    try:
        document = json.loads(data)
        said = document.get("mediaType")
    except (ValueError, AttributeError, RecursionError):
        raise invalid_argument(f"{url} answered with something that is no manifest") from None
    if said is None and kind not in INDEXES + MANIFESTS:
        said = INDEX if "manifests" in document else MANIFEST if "layers" in document else kind
    media_type = str(said or kind)
    if media_type.startswith(_SCHEMA_1) or document.get("schemaVersion") == 1:
        raise ContainerError(
            ErrorCode.UNSUPPORTED, f"{url} is a manifest in docker's schema 1, which no tool supports any more"
        )
    if media_type not in INDEXES + MANIFESTS:
        raise ContainerError(ErrorCode.UNSUPPORTED, f"{url} is of the type {media_type}, which is no image")
    return Descriptor(media_type, digest, len(data)), data


def _start(response: "ClientResponse", offset: int) -> int:
    """Where the body of a response begins."""
    if response.status != 206:
        return 0
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or int(first) > offset:
        raise internal(f"{response.url} answered a request for bytes from {offset} on with others")
    return int(first)


def _wrong(url: str, digest: str) -> ContainerError:
    return invalid_argument(f"{url} is corrupt: its contents have the digest {digest}")
