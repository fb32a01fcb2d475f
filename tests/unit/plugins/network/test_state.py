"""What a helper leaves to its successor."""

from pathlib import Path

import pytest

from container.errors import ContainerError
from container.paths import Roots
from container.plugins.network.state import (
    LeaseRecord,
    NetworkState,
    ProcessRecord,
    StateFile,
    UplinkRecord,
    boot_id,
)


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(Roots(app="", run=str(tmp_path / "run"), install="", log="", config=""), "default")


def state(boot: str) -> NetworkState:
    lease = LeaseRecord("web", "web", "192.168.64.2", "f2:00:00:00:00:01", 1280, ["tap1"])
    uplink = UplinkRecord("slirp4netns", ProcessRecord(12, 34))
    return NetworkState(boot, "nat", "192.168.64.0/24", None, ProcessRecord(56, 78), uplink, [lease], "192.168.64.2", 1)


def test_a_state_comes_back_as_it_was(file: StateFile) -> None:
    assert file.load() is None
    file.save(state(boot_id()))
    assert file.load() == state(boot_id())
    file.remove()
    file.remove()
    assert file.load() is None


def test_a_state_from_another_boot_counts_as_none(file: StateFile) -> None:
    file.save(state("another"))
    assert file.load() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"bootId": 1}', b"\xff"])
def test_a_corrupt_state_is_reported_with_its_path(file: StateFile, content: bytes) -> None:
    file.save(state(boot_id()))
    Path(file.path).write_bytes(content)
    with pytest.raises(ContainerError) as caught:
        file.load()
    assert file.path in str(caught.value)
