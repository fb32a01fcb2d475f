"""The initramfs: its content, and its cache."""

import os
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.model.system import Kernel
from container.vm import initramfs

from . import kernels


@pytest.fixture
def agent(tmp_path: Path) -> str:
    path = tmp_path / "agent"
    path.write_bytes(b"AGENT")
    return str(path)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel("/k", "amd64", kernels.RELEASE, str(kernels.module_tree(tmp_path / "modules")))


def test_modules_are_listed_by_absolute_path_in_load_order(kernel: Kernel, agent: str, tmp_path: Path) -> None:
    data = Path(initramfs.build(kernel, agent, str(tmp_path / "cache"))).read_bytes()
    ring, pci = data.index(b"/modules/virtio_ring.ko\n"), data.index(b"/modules/virtio_pci.ko\n")
    assert ring < pci
    assert b"AGENT" in data


def test_the_same_content_is_made_once(kernel: Kernel, agent: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    first = initramfs.build(kernel, agent, cache)
    inode = os.stat(first).st_ino
    assert initramfs.build(kernel, agent, cache) == first
    assert os.stat(first).st_ino == inode


def test_another_agent_makes_another_archive(kernel: Kernel, agent: str, tmp_path: Path) -> None:
    first = initramfs.build(kernel, agent, str(tmp_path / "cache"))
    Path(agent).write_bytes(b"AGENT 2")
    assert initramfs.build(kernel, agent, str(tmp_path / "cache")) != first


def test_the_cache_keeps_the_newest(kernel: Kernel, agent: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(12):
        Path(agent).write_bytes(b"AGENT %d" % number)
        last = initramfs.build(kernel, agent, str(cache))
    assert len(os.listdir(cache)) == 8
    assert os.path.exists(last)


def test_a_kernel_without_modules_gets_the_agent_alone(agent: str, tmp_path: Path) -> None:
    path = initramfs.build(Kernel("/k", "amd64"), agent, str(tmp_path / "cache"))
    assert b".ko" not in Path(path).read_bytes()


def test_a_missing_agent_says_how_to_build_it(kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="make -C guest") as caught:
        initramfs.build(kernel, str(tmp_path / "nope"), str(tmp_path / "cache"))
    assert caught.value.code is ErrorCode.NOT_FOUND
