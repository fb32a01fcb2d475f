"""The networks of a system: their records and the jobs of their helpers."""

import asyncio
import ipaddress
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from container.apiserver import host
from container.apiserver.background import Background
from container.apiserver.networks import naming
from container.apiserver.networks.records import (
    DEFAULT_NETWORK,
    DEFAULT_PLUGIN,
    NetworkRecord,
    default_network,
    new_network,
)
from container.config import NetworkDefaults
from container.errors import ContainerError, ErrorCode, internal, invalid_argument, invalid_state, not_found
from container.linux import routes
from container.model.job import Job
from container.model.launch import NetworkService
from container.model.mac import normalise_mac
from container.model.network import (
    AttachmentConfiguration,
    Network,
    NetworkMode,
    NetworkPruneResult,
    NetworkRequest,
    NetworkStatus,
)
from container.model.network_options import check_network_options, parse_network_options
from container.store.entities import Entities
from container.supervisor.base import SupervisorBackend

_log = logging.getLogger(__name__)

STATUS_TIMEOUT = 0.7  # seconds; who lists networks waits for one (contract 1.4)
RETURN_TIMEOUT = 10.0  # seconds for a helper to come back, so that it removes its network in order

Jobs = Callable[[NetworkRecord], Job]
Users = Callable[[str], Awaitable[list[str]]]


class NetworkHelpers(Protocol):
    """What is asked of the helper of a network."""

    async def status(self, socket_path: str, timeout: float) -> NetworkStatus:
        """As `Network.Status`, within `timeout` seconds. Raises ContainerError."""


class NetworksService:
    """Every network has a helper as long as the system is up."""

    def __init__(
        self,
        records: Entities[NetworkRecord],
        jobs: Jobs,
        helpers: NetworkHelpers,
        supervisor: SupervisorBackend,
        defaults: NetworkDefaults,
        users: Users,
        tasks: Background,
    ) -> None:
        """`users` tells the containers, running or stopped, that refer to a network."""
        self._users = users
        self._tasks = tasks
        self._pending: set[str] = set()  # names that are being made or removed
        self._changing = asyncio.Lock()  # one network at a time gets its subnets
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

    async def check(self, attachment: AttachmentConfiguration) -> None:
        """Raises ContainerError: notFound `network X not found`, invalidArgument for an address that it cannot give."""
        await self._find(attachment.network)
        record, wanted = self._records.get(attachment.network), attachment.options
        if wanted.mac_address is not None:
            normalise_mac(wanted.mac_address)
        if record is not None:
            for address, subnet in (
                (wanted.ipv4_address, record.ipv4_subnet),
                (wanted.ipv6_address, record.ipv6_subnet),
            ):
                if address is not None:
                    _check_address(address, subnet, attachment.network)

    async def _find(self, network: str) -> None:
        """Raises ContainerError(notFound) `network X not found`."""
        await self._loaded.wait()
        known = network in self._records or network in self._failures
        if not known or network in self._pending:
            raise not_found(f"network {network} not found; `container network list` shows those that there are")

    async def create(self, request: NetworkRequest) -> Network:
        """Make a network with its helper; one that fails leaves nothing. Raises ContainerError."""
        naming.check_name(request.name)
        naming.check_labels(request.labels)
        if request.plugin == DEFAULT_PLUGIN:
            internal = request.mode is NetworkMode.HOST_ONLY
            check_network_options(parse_network_options(request.options), internal=internal, means=host.means())
        await self._loaded.wait()
        if request.name in self._records or request.name in self._failures:
            raise ContainerError(ErrorCode.EXISTS, f"network {request.name} already exists")
        with self._claim(request.name):
            record = await self._tasks.complete(self._create(request), f"the creation of network {request.name}")
        return Network(request.name, record.configuration, await self._status(record))

    async def _create(self, request: NetworkRequest) -> NetworkRecord:
        async with self._changing:
            reached = await asyncio.to_thread(routes.ipv4_subnets)
            record = new_network(request, self._records.values(), reached)
            self._jobs(record)  # the plugin is there
            await asyncio.to_thread(self._store.create, request.name, record)
            self._records[request.name] = record
            try:
                await self._register(request.name)
            except ContainerError:
                del self._records[request.name]
                await asyncio.to_thread(self._store.delete, request.name)
                raise
        return record

    async def delete(self, network: str) -> None:
        """Remove a network that nothing refers to. Raises ContainerError."""
        await self._find(network)
        if network == DEFAULT_NETWORK:
            raise invalid_argument(f"cannot delete a builtin network: {network}")
        users = await self._users(network)
        if users:
            raise invalid_state(
                f"cannot delete subnet {network} with referring containers: {', '.join(users)}; delete those first"
            )
        with self._claim(network):
            await self._tasks.complete(self._remove(network), f"the removal of network {network}")

    async def _remove(self, network: str) -> None:
        job = self._job_of(network)
        if job is not None:
            # One that died, or hangs, leaves its namespace, which only a successor removes.
            if not await self._answers(network, job):
                with suppress(ContainerError):
                    await self._supervisor.stop(job.label)
                await self._answers(network, job)
            try:
                await self._supervisor.deregister(job.label)
            except ContainerError as error:
                if error.code is not ErrorCode.NOT_FOUND:
                    raise
            if job.log_path is not None:
                with suppress(FileNotFoundError):
                    os.unlink(job.log_path)
        await asyncio.to_thread(self._store.delete, network)
        self._records.pop(network, None)
        self._failures.pop(network, None)

    async def _answers(self, network: str, job: Job) -> bool:
        try:
            await self._helpers.status(job.sockets[0], RETURN_TIMEOUT)
        except ContainerError as error:
            _log.warning("the helper of network %s does not answer: %s", network, error.describe())
            return False
        return True

    def _job_of(self, network: str) -> Job | None:
        """The helper's job; None for a record that cannot be read, or whose plugin is gone."""
        try:
            return self._jobs(self._records[network])
        except (KeyError, ContainerError):
            return None

    async def prune(self) -> NetworkPruneResult:
        """Remove every network that is neither built in nor referred to."""
        await self._loaded.wait()
        deleted: list[str] = []
        failed: dict[str, str] = {}
        for network in sorted(self._records):
            if network == DEFAULT_NETWORK or await self._users(network):
                continue
            try:
                await self.delete(network)
            except ContainerError as error:
                failed[network] = error.describe()
            else:
                deleted.append(network)
        return NetworkPruneResult(deleted, failed)

    @contextmanager
    def _claim(self, network: str) -> Iterator[None]:
        if network in self._pending:
            raise invalid_state(f"network {network} has a pending operation; try again when that has ended")
        self._pending.add(network)
        try:
            yield
        finally:
            self._pending.discard(network)

    async def service(self, network: str) -> NetworkService:
        """Where the helper of a network listens. Raises ContainerError."""
        await self._find(network)
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
            return await self._helpers.status(self._jobs(record).sockets[0], STATUS_TIMEOUT)
        except ContainerError as error:
            _log.warning("the helper of network %s does not say its status: %s", name, error.describe())
        subnet = ipaddress.ip_network(record.ipv4_subnet)
        return NetworkStatus(record.ipv4_subnet, str(subnet[1]), record.ipv6_subnet)


def _check_address(text: str, subnet: str, network: str) -> None:
    found = ipaddress.ip_network(subnet)
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise invalid_argument(f"invalid address '{text}' on network {network}: {error}") from error
    if address not in found or address in (found[0], found[1], found[-1]):
        raise invalid_argument(f"network {network} ({subnet}) has no address {text} for a container")
