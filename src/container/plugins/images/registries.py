"""Logging in and out of registries."""

import asyncio

from container.errors import ContainerError, ErrorCode, invalid_argument
from container.model.registry import Registry
from container.oci.registry import endpoints, logins
from container.oci.registry.client import RegistryClient, Request
from container.oci.registry.credentials import Credential

_TRIES, _PAUSE = 10, 0.3  # while the registry answers 5xx (contract 2.9)


class RegistryLogins:
    """The logins of the user that this process runs for."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    async def login(self, server: str, username: str, password: str, scheme: str) -> None:
        """Store a name and password that the registry accepts.

        Raises ContainerError: unauthenticated when it does not, as `failures` otherwise; then nothing is stored.
        """
        endpoint = endpoints.endpoint(server, scheme, self._client.settings)
        if not endpoint.host:
            raise invalid_argument(f"cannot log in to '{server}': it is no registry's host name")
        credential = Credential(username, password)

        async def lookup(host: str, repository: str) -> Credential | None:
            return credential

        client = RegistryClient(self._client.sources, self._client.settings, self._client.patience, lookup)
        async with client:
            for left in reversed(range(_TRIES)):
                try:
                    async with client.request(endpoint, Request("GET", endpoint.url("")), attempts=1):
                        break
                except ContainerError as error:
                    if not left or error.code is not ErrorCode.INTERNAL:
                        raise
                await asyncio.sleep(_PAUSE)
        await logins.add(self._client.sources, endpoint.host, credential)
        self._client.forget(endpoint.host)

    async def logout(self, server: str) -> None:
        """Forget a registry, also one that is not known."""
        host = endpoints.api_host(server)
        await logins.remove(self._client.sources, host)
        self._client.forget(host)

    async def all(self) -> list[Registry]:
        """Every login, by host."""
        return await logins.registries(self._client.sources)
