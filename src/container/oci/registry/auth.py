"""Authentication to registries: basic, and bearer tokens with a cache (distribution's token.md and oauth2.md)."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from container.errors import ContainerError, ErrorCode
from container.oci.registry import challenge, failures
from container.oci.registry.challenge import Challenge
from container.oci.registry.credentials import Credential
from container.oci.registry.endpoints import Endpoint

_CLIENT = "container"
_LIFETIME = 60.0  # seconds, of a token that does not say (token.md)
_MARGIN = 5.0

Scopes = tuple[str, ...]
Lookup = Callable[[str, str], Awaitable[Credential | None]]  # by host and repository


class Fetch(Protocol):
    """How tokens are asked for."""

    async def __call__(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        """Status and body of a response of any status. Raises ContainerError without one."""


@dataclass(frozen=True)
class _Pass:
    header: str
    expires: float


class Authenticator:
    """Gives requests their Authorization header. Tokens are kept by registry and scope until they expire."""

    def __init__(self, lookup: Lookup, fetch: Fetch) -> None:
        self._lookup = lookup
        self._fetch = fetch
        self._passes: dict[tuple[str, Scopes], _Pass] = {}
        self._locks: dict[tuple[str, Scopes], asyncio.Lock] = {}
        self._unknown: set[str] = set()

    def forget(self, host: str) -> None:
        """Drop what was kept for a host."""
        for key in [key for key in self._passes if key[0].endswith(f"://{host}")]:
            del self._passes[key]

    def is_anonymous(self, host: str) -> bool:
        """Whether credentials for a host were looked for in vain."""
        return host in self._unknown

    def header(self, endpoint: Endpoint, scopes: Scopes) -> str | None:
        """The header that worked last, if it still holds."""
        known = self._passes.get((endpoint.origin, scopes))
        return known.header if known is not None and known.expires > time.monotonic() else None

    async def answer(self, endpoint: Endpoint, scopes: Scopes, headers: Sequence[str], sent: str | None) -> str | None:
        """A header that answers the challenges of a 401, which the request got that bore the header `sent`.

        None when there is no answer. Raises ContainerError as asking for a token does.
        """
        key = (endpoint.origin, scopes)
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self.header(endpoint, scopes)
            if known is not None and known != sent:
                return known  # somebody else asked meanwhile
            self._passes.pop(key, None)
            credential = await self._lookup(endpoint.host, _repository(scopes))
            (self._unknown.discard if credential is not None else self._unknown.add)(endpoint.host)
            for item in challenge.parse(headers):
                if item.scheme == "bearer" and item.parameters.get("realm"):
                    found = await self._token(endpoint, item, scopes, credential)
                elif item.scheme == "basic" and credential is not None and not credential.identity_token:
                    found = _Pass(credential.basic(), float("inf"))
                    if found.header == sent:
                        break
                else:
                    continue
                self._passes[key] = found
                return found.header
            return None

    async def _token(
        self, endpoint: Endpoint, asked: Challenge, scopes: Scopes, credential: Credential | None
    ) -> _Pass:
        realm = asked.parameters["realm"]
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise failures.unreachable(endpoint.scheme, endpoint.host, f"it asks for a token from {realm!r}, no URL")
        if credential is not None and parts.scheme == "http" and endpoint.scheme == "https":
            raise ContainerError(
                ErrorCode.UNAUTHENTICATED,
                f"registry {endpoint.host} wants the credentials sent in the clear, to {realm}; they were not sent",
            )
        wanted = " ".join(dict.fromkeys([*asked.scopes, *scopes]))
        fields = {"service": asked.parameters.get("service", ""), "scope": wanted}
        fields = {name: value for name, value in fields.items() if value}
        headers, body, method, url = {}, None, "GET", realm
        if credential is not None and credential.identity_token:
            form = {**fields, "grant_type": "refresh_token", "client_id": _CLIENT}
            body = urlencode({**form, "refresh_token": credential.identity_token}).encode()
            headers, method = {"Content-Type": "application/x-www-form-urlencoded"}, "POST"
        else:
            if credential is not None:
                headers = {"Authorization": credential.basic()}
                fields |= {"account": credential.username}
            pairs = [(name, value) for name, value in fields.items() if name != "scope"]
            pairs += [("scope", scope) for scope in wanted.split()]
            url += ("&" if parts.query else "?") + urlencode(pairs) if pairs else ""
        status, answer = await self._fetch(method, url, headers, body)
        if status != 200:
            raise failures.refused(url, status, answer, endpoint.host if credential is None else None)
        return _parsed(answer, endpoint)


def _parsed(answer: bytes, endpoint: Endpoint) -> _Pass:
    try:
        document: Any = json.loads(answer)
        token = document.get("token") or document.get("access_token")
        lifetime = float(document.get("expires_in") or _LIFETIME)
    except (ValueError, TypeError, AttributeError, RecursionError):
        token, lifetime = None, 0.0
    if not isinstance(token, str) or not token or not token.isprintable():
        raise failures.unreachable(endpoint.scheme, endpoint.host, "it got no token from the server that it names")
    return _Pass(f"Bearer {token}", time.monotonic() + max(lifetime - _MARGIN, lifetime / 2))


def _repository(scopes: Scopes) -> str:
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        if kind == "repository":
            return rest.rpartition(":")[0]
    return ""
