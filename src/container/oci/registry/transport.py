"""HTTP for the registry client: one aiohttp session, TLS and proxies by host, errors in our terms.

aiohttp takes a third of a second to import; that and other costly imports are done when the first request is made.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from container import version
from container.errors import ContainerError, ErrorCode, internal
from container.oci.registry import failures
from container.oci.registry.endpoints import Settings

if TYPE_CHECKING:
    import ssl

    import aiohttp

_READ_BUFFER = 1 << 20


@dataclass(frozen=True)
class Patience:
    """Seconds and counts that bound what a registry may cost."""

    connect: float = 15.0
    idle: float = 30.0  # without any progress
    attempts: int = 5
    first_delay: float = 0.3  # doubles with each attempt
    longest_delay: float = 10.0
    longest_retry_after: float = 60.0


class Transport:
    """Sends single requests. A context manager: leaving it closes the connections."""

    def __init__(self, settings: Settings, patience: Patience) -> None:
        self._settings = settings
        self.patience = patience
        self._session: aiohttp.ClientSession | None = None
        self._tls: dict[str, ssl.SSLContext | bool] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Any = None
    ) -> AsyncIterator["aiohttp.ClientResponse"]:
        """One request; redirects are the caller's. Raises ContainerError: interrupted, timeout, internalError."""
        session = await self._opened()
        with self.translated(url):
            import yarl

            target = yarl.URL(url, encoded=True)
            response = await session.request(
                method,
                target,
                headers=headers,
                data=body,
                allow_redirects=False,
                proxy=self._proxy(url),
                ssl=self._verification(target.authority),
            )
        try:
            yield response
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    @contextlib.contextmanager
    def translated(self, url: str) -> Iterator[None]:
        """Turns aiohttp's errors into ContainerError; wrap reads of a body in it."""
        import aiohttp

        parts = urlsplit(url)
        scheme, host = parts.scheme, parts.netloc
        try:
            yield
        except aiohttp.ServerTimeoutError as error:
            limit = self.patience.connect if isinstance(error, aiohttp.ConnectionTimeoutError) else self.patience.idle
            raise failures.silent(scheme, host, limit) from error
        except aiohttp.ClientConnectorCertificateError as error:
            hint = f'[registry.hosts."{host}"] in config.toml can name its `ca`'
            raise failures.unreachable(
                scheme, host, f"its certificate is not trusted: {_plain(error)}; {hint}"
            ) from error
        except aiohttp.ClientConnectorSSLError as error:
            why = f"it does not speak TLS ({_plain(error)}); --scheme http is for registries without it"
            raise failures.unreachable(scheme, host, why) from error
        except (aiohttp.ClientError, OSError) as error:
            why = f"{_plain(error)}; check the registry's name and the way to it"
            raise failures.unreachable(scheme, host, why) from error
        except ValueError as error:  # what aiohttp thinks of a malformed URL or header
            raise internal(f"cannot ask {host} over {scheme}: {error}") from error

    async def _opened(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp

            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=self.patience.connect, sock_read=self.patience.idle
            )
            self._session = await self._stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=timeout,
                    headers={"User-Agent": f"container/{version.VERSION}", "Accept-Encoding": "identity"},
                    read_bufsize=_READ_BUFFER,
                )
            )
        return self._session

    def _verification(self, host: str) -> "ssl.SSLContext | bool":
        if host not in self._tls:
            self._tls[host] = self._verification_of(host)
        return self._tls[host]

    def _verification_of(self, host: str) -> "ssl.SSLContext | bool":
        settings = self._settings.of(host)
        if settings.insecure:
            return False
        if settings.ca is None:
            return True
        import ssl

        try:
            context = ssl.create_default_context()
            context.load_verify_locations(settings.ca)
            # Own authorities often lack the extensions that Python >= 3.13 insists on; other clients do not.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        except OSError as error:
            raise ContainerError(
                ErrorCode.INVALID_ARGUMENT, f"cannot read the certificates for {host} in {settings.ca}: {error}"
            ) from error
        return context

    def _proxy(self, url: str) -> str | None:
        from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

        parts = urlsplit(url)
        proxies = getproxies_environment()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy is None or proxy_bypass_environment(parts.netloc, proxies):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


def _plain(error: BaseException) -> str:
    """The system's words for an error of aiohttp."""
    import ssl

    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLError):
        return str(getattr(inner, "verify_message", "") or inner.reason or inner)
    if isinstance(inner, OSError) and inner.errno is not None and inner.errno > 0:
        return os.strerror(inner.errno)
    return str(getattr(inner, "strerror", None) or inner) or type(error).__name__
