"""The default network: made once, its helper registered at each start, kept while it runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from container.apiserver.catalogue import Catalogue
from container.apiserver.networks.records import NetworkRecord, entities
from container.apiserver.networks.service import NetworksService
from container.config import NetworkDefaults
from container.errors import ContainerError, ErrorCode
from container.model.job import Job, JobState, JobStatus
from container.model.network import NetworkStatus
from container.paths import Roots


class FakeSupervisor:
    """Keeps jobs."""

    name = "fake"

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    async def register(self, job: Job) -> None:
        if self.jobs.setdefault(job.label, job) != job:
            raise ContainerError(ErrorCode.EXISTS, "another job")

    async def deregister(self, label: str) -> None:
        self.jobs.pop(label)

    async def start(self, label: str) -> None: ...

    async def stop(self, label: str) -> None: ...

    async def list(self) -> list[JobStatus]:
        return [JobStatus(job, JobState.RUNNING) for job in self.jobs.values()]

    async def exit(self) -> None: ...


class FakeNetworkHelpers:
    """Answers, or not."""

    answer: NetworkStatus | None = None

    async def status(self, socket_path: str) -> NetworkStatus:
        if self.answer is None:
            raise ContainerError(ErrorCode.TIMEOUT, "no answer")
        return self.answer


class House:
    """A networks service and what is behind it."""

    def __init__(self, base: Path) -> None:
        self.roots = Roots(*(str(base / name) for name in ("app", "run", "install", "log", "config.toml")))
        self.supervisor = FakeSupervisor()
        self.helpers = FakeNetworkHelpers()
        self.defaults = NetworkDefaults(None, None)

    async def service(self) -> NetworksService:
        """A fresh service that has loaded its records."""
        catalogue = Catalogue(self.roots, False)

        def job(record: NetworkRecord) -> Job:
            return catalogue.network_job(record.configuration, record.ipv4_subnet, record.ipv6_subnet)

        service = NetworksService(entities(self.roots), job, self.helpers, self.supervisor, self.defaults)
        await service.load()
        return service

    @property
    def arguments(self) -> list[str]:
        """Arguments of the only job."""
        (job,) = self.supervisor.jobs.values()
        return job.arguments


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A system without networks."""
    return House(tmp_path)


def _value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


async def test_the_default_network_is_made_at_the_first_start(house: House) -> None:
    service = await house.service()
    (network,) = await service.list()
    assert network.id == "default"
    assert network.configuration.labels == {"com.apple.container.resource.role": "builtin"}
    assert network.configuration.ipv4_subnet is None
    assert network.status.ipv4_subnet == "192.168.64.0/24"
    assert network.status.ipv4_gateway == "192.168.64.1"
    assert _value(house.arguments, "--id") == "default"
    assert _value(house.arguments, "--mode") == "nat"
    assert _value(house.arguments, "--subnet") == "192.168.64.0/24"
    assert _value(house.arguments, "--subnet-v6").startswith("fd")
    found = await service.service("default")
    assert found.socket.endswith("/io.container.network.container-network-bridge.default")


async def test_it_keeps_its_subnets(house: House) -> None:
    (before,) = await (await house.service()).list()
    house.supervisor.jobs.clear()
    (after,) = await (await house.service()).list()
    assert before == after


async def test_the_configuration_decides_when_the_helper_is_not_running(house: House) -> None:
    await house.service()
    house.defaults = NetworkDefaults("10.5.0.0/16", None)
    (kept,) = await (await house.service()).list()
    assert kept.status.ipv4_subnet == "192.168.64.0/24"
    house.supervisor.jobs.clear()
    (changed,) = await (await house.service()).list()
    assert (changed.configuration.ipv4_subnet, changed.status.ipv4_gateway) == ("10.5.0.0/16", "10.5.0.1")
    assert changed.status.ipv6_subnet == kept.status.ipv6_subnet


async def test_the_helper_says_what_is_in_force(house: House) -> None:
    house.helpers.answer = NetworkStatus("1.2.3.0/24", "1.2.3.1")
    (network,) = await (await house.service()).list()
    assert network.status == house.helpers.answer


async def test_an_unknown_network(house: House) -> None:
    service = await house.service()
    await service.check("default")
    with pytest.raises(ContainerError, match="network nope not found"):
        await service.check("nope")
    with pytest.raises(ContainerError, match="network nope not found"):
        await service.service("nope")


async def test_a_helper_begun_with_other_arguments_is_kept(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.service()
    ((label, job),) = house.supervisor.jobs.items()
    house.supervisor.jobs[label] = replace(job, arguments=["other"])
    service = await house.service()
    assert (await service.service("default")).network == "default"
    assert "other arguments" in caplog.text


async def test_a_record_that_cannot_be_read(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.service()
    house.supervisor.jobs.clear()
    path = Path(house.roots.app, "networks", "default", "entity.json")
    path.write_text(json.dumps({"configuration": 1}))
    service = await house.service()
    assert str(path) in caplog.text
    with pytest.raises(ContainerError, match="network default is not available") as caught:
        await service.service("default")
    assert caught.value.cause is not None
