"""The default network: made once, its helper registered at each start, kept while it runs."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from container.apiserver.background import Background
from container.apiserver.catalogue import Catalogue
from container.apiserver.networks.records import NetworkRecord, entities
from container.apiserver.networks.service import NetworksService
from container.config import NetworkDefaults
from container.errors import ContainerError, ErrorCode
from container.model.job import Job, JobState, JobStatus
from container.model.network import (
    AttachmentConfiguration,
    AttachmentOptions,
    NetworkMode,
    NetworkRequest,
    NetworkStatus,
)
from container.model.network_options import Means
from container.paths import Roots


class FakeSupervisor:
    """Keeps jobs."""

    name = "fake"

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.stopped: list[str] = []

    async def register(self, job: Job) -> None:
        if self.jobs.setdefault(job.label, job) != job:
            raise ContainerError(ErrorCode.EXISTS, "another job")

    async def deregister(self, label: str) -> None:
        self.jobs.pop(label)

    async def start(self, label: str) -> None: ...

    async def stop(self, label: str) -> None:
        self.stopped.append(label)

    async def list(self) -> list[JobStatus]:
        return [JobStatus(job, JobState.RUNNING) for job in self.jobs.values()]

    async def exit(self) -> None: ...


class FakeNetworkHelpers:
    """Answers, or not."""

    answer: NetworkStatus | None = None

    async def status(self, socket_path: str, timeout: float) -> NetworkStatus:
        if self.answer is None:
            raise ContainerError(ErrorCode.TIMEOUT, "no answer")
        return self.answer


class House:
    """A networks service and what is behind it."""

    def __init__(self, base: Path, tasks: Background) -> None:
        self.roots = Roots(*(str(base / name) for name in ("app", "run", "install", "log", "config.toml")))
        self.supervisor = FakeSupervisor()
        self.helpers = FakeNetworkHelpers()
        self.defaults = NetworkDefaults(None, None)
        self.tasks = tasks
        self.users: dict[str, list[str]] = {}

    async def service(self) -> NetworksService:
        """A fresh service that has loaded its records."""
        catalogue = Catalogue(self.roots, False)

        def job(record: NetworkRecord) -> Job:
            return catalogue.network_job(record.configuration, record.ipv4_subnet, record.ipv6_subnet)

        async def users(network: str) -> list[str]:
            return self.users.get(network, [])

        service = NetworksService(
            entities(self.roots), job, self.helpers, self.supervisor, self.defaults, users, self.tasks
        )
        await service.load()
        return service

    @property
    def arguments(self) -> list[str]:
        """Arguments of the only job."""
        (job,) = self.supervisor.jobs.values()
        return job.arguments


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A system without networks, of an ordinary user."""
    monkeypatch.setattr("container.apiserver.host.means", lambda: Means(False, {"slirp4netns"}.__contains__))
    async with Background() as tasks:
        yield House(tmp_path, tasks)


def _attachment(network: str, **options: str) -> AttachmentConfiguration:
    return AttachmentConfiguration(network, AttachmentOptions("c", **options))  # type: ignore[arg-type]


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
    await service.check(_attachment("default"))
    with pytest.raises(ContainerError, match="network nope not found"):
        await service.check(_attachment("nope"))
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


async def test_networks_get_subnets_that_do_not_overlap(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("container.linux.routes.ipv4_subnets", lambda: [IPv4Network("192.168.66.0/23")])
    service = await house.service()
    made = [await service.create(NetworkRequest(name)) for name in ("a", "b")]
    assert [each.status.ipv4_subnet for each in made] == ["192.168.65.0/24", "192.168.68.0/24"]
    every = [IPv6Network(each.status.ipv6_subnet or "") for each in await service.list()]
    assert len({subnet.supernet(new_prefix=48) for subnet in every}) == 1
    assert len(set(every)) == 3
    assert made[0].configuration.ipv4_subnet is None


async def test_a_network_is_what_was_asked_for(house: House) -> None:
    service = await house.service()
    request = NetworkRequest(
        "db", NetworkMode.HOST_ONLY, ipv4_subnet="10.9.8.7/16", labels={"tier": "db"}, options={"uplink": "none"}
    )
    network = await service.create(request)
    assert network.configuration.ipv4_subnet == network.status.ipv4_subnet == "10.9.0.0/16"
    job = next(job for job in house.supervisor.jobs.values() if "db" in job.arguments)
    assert _value(job.arguments, "--mode") == "hostOnly"
    assert _value(job.arguments, "--option") == "uplink=none"
    house.supervisor.jobs.clear()
    again = await (await house.service()).list()
    assert [each.id for each in again] == ["db", "default"]
    assert again[0] == network
    assert len(house.supervisor.jobs) == 2


async def test_a_network_that_the_host_gets_a_route_to_takes_none_of_the_hosts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("container.apiserver.host.means", lambda: Means(True, {"slirp4netns", "ip"}.__contains__))
    monkeypatch.setattr("container.linux.routes.ipv4_subnets", lambda: [IPv4Network("10.1.0.0/16")])
    service = await house.service()
    veth = {"uplink": "veth"}
    with pytest.raises(ContainerError, match=r"subnet 10\.1\.2\.0/24 overlaps 10\.1\.0\.0/16, which this host reaches"):
        await service.create(NetworkRequest("a", ipv4_subnet="10.1.2.0/24", options=veth))
    await service.create(NetworkRequest("a", ipv4_subnet="10.1.2.0/24"))
    await service.create(NetworkRequest("b", ipv4_subnet="10.2.0.0/16", options=veth))


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (NetworkRequest("default"), ErrorCode.EXISTS, "network default already exists"),
        (NetworkRequest("none"), ErrorCode.INVALID_ARGUMENT, "network none is not a valid name"),
        (NetworkRequest("A"), ErrorCode.INVALID_ARGUMENT, "invalid network name: A"),
        (NetworkRequest("a" * 64), ErrorCode.INVALID_ARGUMENT, "invalid network name"),
        (
            NetworkRequest("a", ipv4_subnet="192.168.0.0/16"),
            ErrorCode.EXISTS,
            "IPv4 subnet 192.168.0.0/16 overlaps an existing network with subnet 192.168.64.0/24",
        ),
        (NetworkRequest("a", ipv4_subnet="10.0.0.0/31"), ErrorCode.INVALID_ARGUMENT, "invalid CIDR"),
        (NetworkRequest("a", ipv4_subnet="127.0.0.0/24"), ErrorCode.INVALID_ARGUMENT, "invalid CIDR"),
        (NetworkRequest("a", ipv6_subnet="fd00::/56"), ErrorCode.INVALID_ARGUMENT, "must be a /64"),
        (NetworkRequest("a", labels={"Upper": ""}), ErrorCode.INVALID_ARGUMENT, "invalid_label_key_content"),
        (NetworkRequest("a", labels={"k" * 129: ""}), ErrorCode.INVALID_ARGUMENT, "invalid_label_key_length"),
        (NetworkRequest("a", labels={"k": "v" * 4095}), ErrorCode.INVALID_ARGUMENT, "invalid_label_length"),
        (NetworkRequest("a", options={"uplink": "pasta"}), ErrorCode.UNSUPPORTED, "pasta is not installed"),
        (
            NetworkRequest("a", NetworkMode.HOST_ONLY, options={"uplink": "veth"}),
            ErrorCode.INVALID_ARGUMENT,
            "internal",
        ),
        (NetworkRequest("a", plugin="p"), ErrorCode.NOT_FOUND, "unable to locate network plugin p"),
    ],
)
async def test_a_network_that_cannot_be(house: House, request_: NetworkRequest, code: ErrorCode, text: str) -> None:
    service = await house.service()
    with pytest.raises(ContainerError, match=text) as caught:
        await service.create(request_)
    assert caught.value.code is code
    assert [each.id for each in await service.list()] == ["default"]


async def test_a_network_in_use_stays(house: House) -> None:
    service = await house.service()
    for name in ("a", "b"):
        await service.create(NetworkRequest(name))
    house.users["a"] = ["web", "x"]
    with pytest.raises(ContainerError, match="cannot delete subnet a with referring containers: web, x"):
        await service.delete("a")
    with pytest.raises(ContainerError, match="cannot delete a builtin network: default"):
        await service.delete("default")
    with pytest.raises(ContainerError, match="network nope not found"):
        await service.delete("nope")
    result = await service.prune()
    assert (result.deleted, result.failed) == (["b"], {})
    assert [each.id for each in await service.list()] == ["a", "default"]
    assert len(house.supervisor.jobs) == 2


async def test_a_helper_that_hangs_is_replaced_so_that_its_network_is_removed(house: House) -> None:
    service = await house.service()
    house.helpers.answer = NetworkStatus("1.2.3.0/24", "1.2.3.1")
    for name in ("well", "hangs"):
        await service.create(NetworkRequest(name))
    await service.delete("well")
    assert house.supervisor.stopped == []
    house.helpers.answer = None
    await service.delete("hangs")
    assert [label.rpartition(".")[2] for label in house.supervisor.stopped] == ["hangs"]
    assert len(house.supervisor.jobs) == 1


async def test_an_address_that_is_asked_for(house: House) -> None:
    service = await house.service()
    await service.check(_attachment("default", ipv4_address="192.168.64.2"))
    for options in (
        {"ipv4_address": "192.168.64.1"},
        {"ipv4_address": "192.168.64.255"},
        {"ipv4_address": "10.0.0.1"},
        {"ipv6_address": "fd00::9"},
    ):
        with pytest.raises(ContainerError, match=r"network default \(.*\) has no address"):
            await service.check(_attachment("default", **options))
