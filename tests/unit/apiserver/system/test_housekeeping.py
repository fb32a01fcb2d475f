"""Every byte of the app root is in a row of `df`; `prune` removes what `df` calls reclaimable, and nothing else."""

import os
import subprocess
from pathlib import Path

import pytest

from container.apiserver.system import usage
from container.apiserver.system.housekeeping import Housekeeping
from container.apiserver.system.usage import Usage, of_whole
from container.model.job import Job, JobState, JobStatus
from container.model.system import ResourceUsage
from container.paths import APISERVER, Roots
from container.vm.kernel import KernelStore


class Machines:
    """What a test says of the virtual machines."""

    starting = own_kernel = False

    def is_starting(self) -> bool:
        return self.starting

    def has_own_kernel(self) -> bool:
        return self.own_kernel


async def jobs() -> list[JobStatus]:
    """The API server is registered."""
    return [JobStatus(Job(APISERVER, "/bin/true", []), JobState.RUNNING)]


class Place:
    """An app root with two kernels, caches and logs."""

    def __init__(self, base: Path) -> None:
        self.roots = Roots(*(str(base / name) for name in ("app", "run", "install", "app/logs", "config.toml")))
        self.machines = Machines()
        self.kept = Housekeeping(self.roots, KernelStore(self.roots), self.machines, jobs)
        for path in (
            "kernels/old/vmlinux",
            "kernels/new/vmlinux",
            "kernels/.partial-1/vmlinux",
            "cache/machine-1.state",
            "cache/upper.ext4.lock",
            "logs/io.container.apiserver.log",
            "logs/io.container.apiserver.log.1",
            "logs/io.container.runtime.gone.log",
            "logs/syslog.log",
            "volumes/v/entity.json",
            "volumes/v/data/big",
            "networks/.lock",
        ):
            file = Path(self.roots.app, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x" * 10_000)
        os.symlink("new/vmlinux", os.path.join(self.roots.app, "kernels", "default.kernel-amd64"))

    def names(self) -> set[str]:
        """Files of the app root, by path in it."""
        app = Path(self.roots.app)
        return {str(path.relative_to(app)) for path in app.rglob("*") if path.is_file() and not path.is_symlink()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_prune_removes_what_df_calls_reclaimable(place: Place) -> None:
    parts = [await part() for part in (place.kept.kernels, place.kept.caches, place.kept.logs)]
    assert [(part.total, part.active) for part in parts] == [(2, 1), (1, 0), (3, 1)]
    before = place.names()
    result = await place.kept.prune()
    assert result.failed == {}
    assert result.reclaimed == sum(part.reclaimable for part in parts)
    assert before - place.names() == {
        "kernels/old/vmlinux",
        "kernels/.partial-1/vmlinux",  # what a crash left goes as well
        "cache/machine-1.state",
        "logs/io.container.apiserver.log.1",
        "logs/io.container.runtime.gone.log",
    }
    assert (await place.kept.prune()).deleted == []


async def test_what_a_machine_needs_stays(place: Place) -> None:
    place.machines.starting = place.machines.own_kernel = True
    assert (await place.kept.caches()).reclaimable == 0
    await place.kept.prune()
    assert {"cache/machine-1.state", "kernels/old/vmlinux"} <= place.names()


async def test_every_byte_is_in_a_row(place: Place) -> None:
    os.link(os.path.join(place.roots.app, "cache", "machine-1.state"), os.path.join(place.roots.app, "again"))
    kept = place.kept
    volumes = usage.allocated(os.path.join(place.roots.app, "volumes", "v", "data"))

    async def of_volumes() -> ResourceUsage:
        return ResourceUsage(1, 0, volumes, volumes)

    measured = await Usage(
        volumes=of_volumes, kernels=kept.kernels, caches=kept.caches, logs=kept.logs, whole=of_whole(place.roots)
    ).measure()
    rows = [measured.volumes, measured.kernels, measured.caches, measured.logs, measured.other]
    told = subprocess.run(["du", "-s", "-B1", place.roots.app], capture_output=True, check=True).stdout
    data = os.lstat(os.path.join(place.roots.app, "volumes", "v", "data")).st_blocks * 512  # a directory
    assert sum(row.size_in_bytes for row in rows) == int(told.split()[0]) - data


async def test_logs_that_are_elsewhere_count_as_logs_alone(tmp_path: Path) -> None:
    roots = Roots(str(tmp_path / "app"), "", "", str(tmp_path / "app.logs"), "")
    assert not usage.logs_inside(roots)
    (tmp_path / "app").mkdir()
    whole = (await Usage(whole=of_whole(roots), logs_inside=False).measure()).other.size_in_bytes
    assert whole == os.lstat(roots.app).st_blocks * 512
