"""Requests to registries as they should go: authenticated, redirected, retried (distribution-spec 1.1)."""

import asyncio
import contextlib
import datetime
import email.utils
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from container.errors import ContainerError, ErrorCode
from container.oci.registry import credentials, failures
from container.oci.registry.auth import Authenticator, Lookup, Scopes
from container.oci.registry.credentials import Sources
from container.oci.registry.endpoints import Endpoint, Settings
from container.oci.registry.transport import Patience, Transport

if TYPE_CHECKING:
    from aiohttp import ClientResponse

Body = Callable[[], bytes | AsyncIterable[bytes]]  # made anew for each attempt

_REDIRECTS = (301, 302, 303, 307, 308)
_SAME_REQUEST = (307, 308)  # which those that write may follow, too (RFC 9110, 15.4)
_MAX_REDIRECTS = 5
_AGAIN = frozenset((429, 500, 502, 503, 504))
_MAX_ERROR_BODY = 16 << 10


@dataclass(frozen=True)
class Request:
    """What is asked. `accept` are the statuses that count as success."""

    method: str
    url: str
    scopes: Scopes = ()
    headers: Mapping[str, str] | None = None
    body: Body | None = None
    accept: tuple[int, ...] = (200,)


class RegistryClient:
    """Talks to any registry. A context manager: leaving it closes the connections."""

    def __init__(
        self, sources: Sources, settings: Settings, patience: Patience | None = None, lookup: Lookup | None = None
    ) -> None:
        """`lookup` is used in place of the `sources` when it is given."""
        self.patience = patience or Patience()
        self.sources = sources
        self.settings = settings
        self._transport = Transport(settings, self.patience)
        self._auth = Authenticator(lookup or self._find, self._fetch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    def forget(self, host: str) -> None:
        """Use nothing that was learnt with earlier credentials for a host."""
        self._auth.forget(host)

    @asynccontextmanager
    async def request(
        self, endpoint: Endpoint, request: Request, attempts: int | None = None
    ) -> AsyncIterator["ClientResponse"]:
        """The response to a request, tried up to `attempts` times while the registry is busy or breaks off.

        Raises ContainerError as `failures` says.
        """
        left = attempts or self.patience.attempts
        delay = self.patience.first_delay
        while True:
            left -= 1
            async with contextlib.AsyncExitStack() as stack:
                try:
                    response = await stack.enter_async_context(self._once(endpoint, request))
                except ContainerError as error:
                    if not left or not _may_pass(error):
                        raise
                    wait = None
                else:
                    if response.status in request.accept:
                        yield response
                        return
                    refusal = await self._refusal(endpoint, response)
                    wait = _retry_after(response) if response.status in (429, 503) else None
                    if not left or response.status not in _AGAIN or (wait or 0) > self.patience.longest_retry_after:
                        raise failures.later(refusal, wait)
            await asyncio.sleep(delay * random.uniform(0.75, 1.25) if wait is None else wait)  # noqa: S311
            delay = min(delay * 2, self.patience.longest_delay)

    async def document(self, endpoint: Endpoint, request: Request, limit: int) -> tuple["ClientResponse", bytes]:
        """A response and all of its body, asked for again when it breaks off. Raises as `request` and `body`."""
        left, delay = self.patience.attempts, self.patience.first_delay
        while True:
            left -= 1
            async with self.request(endpoint, request) as response:
                try:
                    return response, await self.body(response, limit)
                except ContainerError as error:
                    if not left or error.code is not ErrorCode.INTERRUPTED:
                        raise
            await asyncio.sleep(delay)
            delay = min(delay * 2, self.patience.longest_delay)

    async def chunks(self, response: "ClientResponse") -> AsyncIterator[bytes]:
        """The body of a response as it comes. Raises ContainerError: interrupted, timeout."""
        with self._transport.translated(str(response.url)):
            while chunk := await response.content.readany():
                yield chunk

    async def body(self, response: "ClientResponse", limit: int) -> bytes:
        """The whole body. Raises ContainerError, internalError when it has more than `limit` bytes."""
        parts, size = [], 0
        async for chunk in self.chunks(response):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise ContainerError(ErrorCode.INTERNAL, f"the response to {response.url} has more than {limit} bytes")
        return b"".join(parts)

    @asynccontextmanager
    async def _once(self, endpoint: Endpoint, request: Request) -> AsyncIterator["ClientResponse"]:
        """The response to one attempt, whose 401 is answered, and whose redirects are followed."""
        sent = self._auth.header(endpoint, request.scopes)
        for _ in range(2):  # a header that has expired, a fresh one
            async with self._followed(endpoint, request, sent) as response:
                answer = None
                if response.status == 401 and _origin(str(response.url)) == endpoint.origin:
                    challenges = response.headers.getall("WWW-Authenticate", [])
                    answer = await self._auth.answer(endpoint, request.scopes, challenges, sent)
                if answer is None:
                    yield response
                    return
            sent = answer
        async with self._followed(endpoint, request, sent) as response:
            yield response

    @asynccontextmanager
    async def _followed(
        self, endpoint: Endpoint, request: Request, authorization: str | None
    ) -> AsyncIterator["ClientResponse"]:
        url, reads = request.url, request.method in ("GET", "HEAD")
        for _ in range(_MAX_REDIRECTS + 1):
            headers = dict(request.headers or {})
            if authorization is not None and _origin(url) == endpoint.origin:
                headers["Authorization"] = authorization
            body = request.body() if request.body is not None else None
            async with self._transport.send(request.method, url, headers, body) as response:
                location = response.headers.get("Location")
                if response.status not in (_REDIRECTS if reads else _SAME_REQUEST) or not location:
                    yield response
                    return
                url = urljoin(url, location)
            if urlsplit(url).scheme not in (("http", "https") if reads else (endpoint.scheme, "https")):
                break  # what is read is checked; what is written is not sent in the clear
        shown = url.partition("?")[0]
        raise failures.unreachable(endpoint.scheme, endpoint.host, f"it redirects too often or to {shown}")

    async def _fetch(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        """A request for a token, which is its own endpoint and is not authenticated further."""
        left, delay = self.patience.attempts, self.patience.first_delay
        while True:
            left -= 1
            try:
                async with self._transport.send(method, url, headers, body) as response:
                    status, answer = response.status, await self.body(response, _MAX_ERROR_BODY * 64)
                if not left or status not in _AGAIN:
                    return status, answer
            except ContainerError as error:
                if not left or not _may_pass(error):
                    raise
            await asyncio.sleep(delay)
            delay = min(delay * 2, self.patience.longest_delay)

    async def _refusal(self, endpoint: Endpoint, response: "ClientResponse") -> ContainerError:
        lacking = response.status == 401 and self._auth.is_anonymous(endpoint.host)
        body = await self._error_body(response)
        return failures.refused(str(response.url), response.status, body, endpoint.host if lacking else None)

    async def _error_body(self, response: "ClientResponse") -> bytes:
        data = b""
        with contextlib.suppress(ContainerError):
            async for chunk in self.chunks(response):
                data += chunk
                if len(data) > _MAX_ERROR_BODY:
                    break
        return data

    async def _find(self, host: str, repository: str) -> credentials.Credential | None:
        return await credentials.find(self.sources, host, repository)


def _may_pass(error: ContainerError) -> bool:
    """Whether trying again may help: the connection broke, but there was one."""
    return error.code is ErrorCode.INTERRUPTED and not _is_refusal(error.__cause__)


def _is_refusal(cause: BaseException | None) -> bool:
    import aiohttp

    return cause is None or isinstance(cause, aiohttp.ClientConnectorError)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _retry_after(response: "ClientResponse") -> float | None:
    """Seconds that a response asks to wait (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return max((date - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)
