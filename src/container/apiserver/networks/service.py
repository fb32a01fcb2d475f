"""The networks of a system: their records and the jobs of their helpers."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from typing import Protocol

from container.apiserver.networks.records import DEFAULT_NETWORK, NetworkRecord, default_network
from container.config import NetworkDefaults
from container.errors import ContainerError, ErrorCode, internal, not_found
from container.model.job import Job
from container.model.launch import NetworkService
from container.model.network import Network, NetworkStatus
from container.store.entities import Entities
from container.supervisor.base import SupervisorBackend

_log = logging.getLogger(__name__)

STATUS_TIMEOUT = 0.7  # seconds; who lists networks waits for one (contract 1.4)

Jobs = Callable[[NetworkRecord], Job]


class NetworkHelpers(Protocol):
    """What is asked of the helper of a network."""

    async def status(self, socket_path: str) -> NetworkStatus:
        """As `Network.Status`, within `STATUS_TIMEOUT`. Raises ContainerError."""


class NetworksService:
    """Every network has a helper as long as the system is up."""

    def __init__(
        self,
        records: Entities[NetworkRecord],
        jobs: Jobs,
        helpers: NetworkHelpers,
        supervisor: SupervisorBackend,
        defaults: NetworkDefaults,
    ) -> None:
        self._store = records
        self._jobs = jobs
        self._helpers = helpers
        self._supervisor = supervisor
        self._defaults = defaults
        self._records: dict[str, NetworkRecord] = {}
        self._failures: dict[str, ContainerError] = {}  # why a network has no helper
        self._loaded = asyncio.Event()

    async def load(self) -> None:
        """Read the records, make the default network's, have every helper started."""
        loaded = await asyncio.to_thread(self._store.load_all)
        for corrupt in loaded.corrupt:
            _log.error("network %s cannot be loaded: %s: %s", corrupt.id, corrupt.path, corrupt.reason)
            self._failures[corrupt.id] = internal(f"network {corrupt.id} cannot be loaded: {corrupt.reason}")
        self._records = dict(loaded.records)
        labels = {status.job.label for status in await self._supervisor.list()}
        if DEFAULT_NETWORK not in self._failures:
            await self._settle_default(labels)
        for name in self._records:
            try:
                await self._register(name)
            except ContainerError as error:
                _log.error("network %s has no helper: %s", name, error.describe())
                self._failures[name] = error
        self._loaded.set()

    async def _settle_default(self, labels: set[str]) -> None:
        """Bring the default network's record up to date with the configuration, unless its helper runs already."""
        former = self._records.get(DEFAULT_NETWORK)
        if former is not None and self._jobs(former).label in labels:
            return
        record = default_network(self._defaults, former)
        if former is None:
            await asyncio.to_thread(self._store.create, DEFAULT_NETWORK, record)
        elif record != former:
            await asyncio.to_thread(self._store.update, DEFAULT_NETWORK, record)
        self._records[DEFAULT_NETWORK] = record

    async def _register(self, name: str) -> None:
        job = self._jobs(self._records[name])
        try:
            await self._supervisor.register(job)
        except ContainerError as error:
            if error.code is not ErrorCode.EXISTS:
                raise
            _log.warning("network %s keeps the helper that it has, begun with other arguments", name)

    async def check(self, network: str) -> None:
        """Raises ContainerError(notFound) `network X not found`."""
        await self._loaded.wait()
        if network not in self._records and network not in self._failures:
            raise not_found(f"network {network} not found")

    async def service(self, network: str) -> NetworkService:
        """Where the helper of a network listens. Raises ContainerError."""
        await self.check(network)
        if (failure := self._failures.get(network)) is not None:
            raise ContainerError(failure.code, f"network {network} is not available", failure)
        return NetworkService(network, self._jobs(self._records[network]).sockets[0])

    async def list(self) -> list[Network]:
        """Every network, sorted by id, with the subnets that its helper reports, else those of its record."""
        await self._loaded.wait()
        async with asyncio.TaskGroup() as group:
            records = sorted(self._records.items())
            statuses = [group.create_task(self._status(record)) for _, record in records]
        return [
            Network(id, record.configuration, status.result())
            for (id, record), status in zip(records, statuses, strict=True)
        ]

    async def _status(self, record: NetworkRecord) -> NetworkStatus:
        name = record.configuration.name
        try:
            return await self._helpers.status(self._jobs(record).sockets[0])
        except ContainerError as error:
            _log.warning("the helper of network %s does not say its status: %s", name, error.describe())
        subnet = ipaddress.ip_network(record.ipv4_subnet)
        return NetworkStatus(record.ipv4_subnet, str(subnet[1]), record.ipv6_subnet)
