"""A container with a generated id and one and a half CPUs, called by the beginning of its id as docker's users do."""

import json
from collections.abc import Iterator

import pytest
from support.system import System

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def id(system: System) -> Iterator[str]:
    """The id of a container that runs."""
    whole = system.output(
        *("run", "-d", "-m", "256m", "--cpus", "1.5", "-h", "halfbox", "--label", "words=1", "busybox"),
        *("sh", "-c", "echo hello; trap 'exit 3' TERM; sleep 100000 & wait"),
    )
    yield whole
    system.run("delete", "-f", whole, check=False)


def test_one_and_a_half_cpus_are_a_quota_on_two(system: System, id: str) -> None:
    quota, host_name = system.output("exec", id, "sh", "-c", "cat /sys/fs/cgroup/cpu.max; hostname").splitlines()
    assert (quota, host_name) == ("150000 100000", "halfbox")
    resources = json.loads(system.output("inspect", id))[0]["configuration"]["resources"]
    assert (resources["cpus"], resources["cpuQuota"]) == (2, 150_000)
    assert system.output("ps", "-f", "label=words", "--format", "{{.Names}} {{.State}}") == f"{id} running"


def test_the_beginning_of_an_id_is_enough(system: System, id: str) -> None:
    short = id[:8]
    assert system.output("inspect", "-f", "{{.Id}} {{.State.Status}}", short) == f"{id} running"
    assert system.output("exec", short, "echo", "hi") == "hi"
    assert system.output("exec", "-d", short, "true") == id
    assert system.output("logs", short) == "hello"
    assert "halfbox" in system.run("cp", f"{short}:/etc/hostname", "-").stdout
    assert system.output("stop", "-t", "20", short) == id
    status = system.output("ps", "-a", "-f", f"id={id}", "--format", "{{.Status}}")
    assert status.startswith("Exited (3) ")
    assert status.endswith(" ago")
    assert id in system.output("ps", "-aq", "-f", "exited=3").splitlines()
    assert system.output("start", short) == id
    assert system.output("kill", short) == id
    assert system.output("rm", short) == id
    missing = system.run("rm", short, check=False)
    assert missing.returncode == 1
    assert f"container with ID {short} not found" in missing.stderr


def test_an_image_is_called_by_the_beginning_of_its_id(system: System) -> None:
    id = system.output("images", "--no-trunc", "--format", "{{.ID}}", "busybox").splitlines()[0]
    name = system.output("image", "inspect", "-f", "{{.configuration.name}}", id.removeprefix("sha256:")[:12])
    assert name.endswith("busybox:latest")
