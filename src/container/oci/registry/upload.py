"""Writing to a repository: blobs by mount or upload, manifests (distribution-spec 1.1, "Push")."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from container.errors import ContainerError, ErrorCode, internal
from container.model.image import Descriptor
from container.oci import digest as digests
from container.oci.mediatypes import INDEX
from container.oci.registry.client import Request
from container.oci.registry.repository import Repository

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_CHUNK = 1 << 18
_PASSING = (ErrorCode.INTERRUPTED, ErrorCode.TIMEOUT, ErrorCode.INTERNAL, ErrorCode.NOT_FOUND)
_OCTETS = "application/octet-stream"

Progress = Callable[[int], None]  # bytes sent so far


class Uploads:
    """Writes to one repository, never through mirrors. Every call raises ContainerError (`failures`)."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._client = repository.client
        self._endpoint = repository.endpoint
        self._scopes = (f"repository:{repository.path}:pull,push",)

    async def has_blob(self, digest: str) -> bool:
        """Whether the registry has a blob in this repository."""
        return await self._has(f"blobs/{digest}", {})

    async def has_manifest(self, descriptor: Descriptor) -> bool:
        """Whether the registry has a manifest in this repository."""
        return await self._has(f"manifests/{descriptor.digest}", {"Accept": descriptor.media_type})

    async def blob(self, descriptor: Descriptor, path: str, origins: Iterable[str], progress: Progress) -> bool:
        """Have the registry take a blob from one of the repositories `origins` of its own, or send the file `path`.

        Returns whether it was sent.
        """
        for origin in origins:
            location = await self._start(descriptor.digest, origin)
            if location is None:
                return False
            await self._abandon(location)
        location = await self._start(descriptor.digest, None)
        if location is not None:
            await self._send(descriptor, path, location, progress)
        return location is not None

    async def manifest(self, reference: str, media_type: str, data: bytes) -> None:
        """Store a manifest or index under a tag or its digest; what it is about is told to old registries, too."""
        url = self._url(f"manifests/{reference}")
        request = Request("PUT", url, self._scopes, {"Content-Type": media_type}, lambda: data, accept=(200, 201, 202))
        async with self._client.request(self._endpoint, request) as response:
            known = response.headers.get("OCI-Subject")
        subject = json.loads(data).get("subject")
        if isinstance(subject, dict) and known is None:
            await self._refer(subject, media_type, data)

    async def _has(self, path: str, headers: dict[str, str]) -> bool:
        request = Request("HEAD", self._url(path), self._scopes, headers, accept=(200, 404))
        async with self._client.request(self._endpoint, request) as response:
            return response.status == 200

    async def _start(self, digest: str, origin: str | None) -> str | None:
        """Where to send a blob; None when the registry has taken it from `origin`."""
        url = self._url("blobs/uploads/")
        scopes: tuple[str, ...] = self._scopes
        if origin is not None:
            url += f"?mount={digest}&from={origin}"
            scopes = (*scopes, f"repository:{origin}:pull")
        request = Request("POST", url, scopes, {"Content-Length": "0"}, accept=(201, 202))
        async with self._client.request(self._endpoint, request) as response:
            return None if response.status == 201 else self._location(response)

    async def _send(self, descriptor: Descriptor, path: str, location: str, progress: Progress) -> None:
        """PATCH and PUT; after a failure go on where the registry says it is, from the start if it has forgotten."""
        patience = self._client.patience
        failures, delay, offset = 0, patience.first_delay, 0
        while True:
            try:
                if offset < descriptor.size:
                    location = await self._patch(descriptor, path, location, offset, progress)
                    offset = descriptor.size
                await self._finish(descriptor, location)
                progress(descriptor.size)
                return
            except ContainerError as error:
                failures += 1
                if error.code not in _PASSING or failures >= patience.attempts:
                    raise
            await asyncio.sleep(delay)
            delay = min(delay * 2, patience.longest_delay)
            location, offset = await self._resumed(descriptor.digest, location)

    async def _finish(self, descriptor: Descriptor, location: str) -> None:
        url = f"{location}{'&' if '?' in location else '?'}digest={descriptor.digest}"
        headers = {"Content-Type": _OCTETS, "Content-Length": "0"}
        request = Request("PUT", url, self._scopes, headers, accept=(200, 201, 204))
        async with self._client.request(self._endpoint, request):
            pass

    async def _patch(self, descriptor: Descriptor, path: str, location: str, offset: int, progress: Progress) -> str:
        size = descriptor.size - offset
        headers = {"Content-Type": _OCTETS, "Content-Length": str(size)}
        if offset:
            headers["Content-Range"] = f"{offset}-{descriptor.size - 1}"
        request = Request(
            "PATCH", location, self._scopes, headers, lambda: _file(path, offset, progress), accept=(202, 204)
        )
        async with self._client.request(self._endpoint, request, attempts=1) as response:
            return self._location(response)

    async def _resumed(self, digest: str, location: str) -> tuple[str, int]:
        """Where an upload goes on and from which byte; a new one when the registry has forgotten it."""
        request = Request("GET", location, self._scopes, accept=(204, 404))
        async with self._client.request(self._endpoint, request) as response:
            if response.status == 204:
                first, dash, last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")
                done = int(last) + 1 if dash and last.isdigit() and first == "0" and last != "0" else 0
                return self._location(response), done
        fresh = await self._start(digest, None)
        assert fresh is not None
        return fresh, 0

    async def _abandon(self, location: str) -> None:
        """Give up an upload that a refused mount has started."""
        request = Request("DELETE", location, self._scopes, accept=(200, 202, 204, 404, 405))
        try:
            async with self._client.request(self._endpoint, request, attempts=1):
                pass
        except ContainerError:
            pass  # it expires there

    async def _refer(self, subject: dict[str, object], media_type: str, data: bytes) -> None:
        """Add a manifest to the list of referrers that registries without the referrers API keep under a tag."""
        digest = str(subject.get("digest"))
        tag = digest.replace(":", "-")[:128]
        try:
            _, found = await self._repository.manifest(tag)
            index = json.loads(found)
        except ContainerError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        document = json.loads(data)
        kind = document.get("artifactType") or (document.get("config") or {}).get("mediaType")
        entry = {"mediaType": media_type, "digest": digests.of(data), "size": len(data), "artifactType": kind}
        entry |= {"annotations": document["annotations"]} if document.get("annotations") else {}
        if any(item.get("digest") == entry["digest"] for item in index["manifests"]):
            return
        index["manifests"].append(entry)
        await self.manifest(tag, INDEX, json.dumps(index).encode())

    def _url(self, path: str) -> str:
        return self._endpoint.url(f"{self._repository.path}/{path}")

    def _location(self, response: "ClientResponse") -> str:
        location = response.headers.get("Location")
        if not location:
            raise internal(f"{str(response.url).partition('?')[0]} answered without saying where the blob goes")
        return urljoin(str(response.url), location)


async def _file(path: str, offset: int, progress: Progress) -> AsyncIterator[bytes]:
    """A file from `offset` on, read in threads."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := await _read(fd, offset):
            yield data
            offset += len(data)
            progress(offset)
    finally:
        os.close(fd)


async def _read(fd: int, offset: int) -> bytes:
    """The next bytes; when it is cancelled, nobody uses the descriptor any more."""
    reading = asyncio.get_running_loop().run_in_executor(None, os.pread, fd, _CHUNK, offset)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait([reading])
        raise
