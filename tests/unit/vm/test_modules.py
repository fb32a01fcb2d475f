"""Kernel modules in load order."""

from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.vm import modules

from . import kernels


def test_what_a_module_needs_is_loaded_before_it(tmp_path: Path) -> None:
    order = [module.name for module in modules.select(str(kernels.module_tree(tmp_path)))]
    assert order.index("virtio_ring") < order.index("virtio") < order.index("virtio_pci")
    assert order.index("virtio_pci_modern_dev") < order.index("virtio_pci")
    assert len(order) == len(set(order))


def test_the_channel_comes_before_everything_else(tmp_path: Path) -> None:
    order = [module.name for module in modules.select(str(kernels.module_tree(tmp_path)))]
    assert order.index("virtio_console") < min(order.index(name) for name in ("virtio_blk", "squashfs", "overlay"))


def test_only_what_a_guest_needs_is_chosen(tmp_path: Path) -> None:
    names = {module.name for module in modules.select(str(kernels.module_tree(tmp_path)))}
    assert "nfs" not in names
    assert {"virtio_net", "virtio_blk"} <= names


def test_built_in_modules_are_skipped(tmp_path: Path) -> None:
    tree = kernels.module_tree(tmp_path, missing=("virtio_ring",), builtin=("ext4", "virtio_ring"))
    assert "virtio_ring" not in {module.name for module in modules.select(str(tree))}


@pytest.mark.parametrize(("missing", "text"), [("overlay", "lack overlay"), ("virtio", "lack virtio, which")])
def test_a_required_module_that_is_missing_is_named(tmp_path: Path, missing: str, text: str) -> None:
    with pytest.raises(ContainerError, match=text) as caught:
        modules.select(str(kernels.module_tree(tmp_path, missing=(missing,))))
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_an_optional_module_may_be_missing(tmp_path: Path) -> None:
    modules.select(str(kernels.module_tree(tmp_path, missing=("virtio-net",))))


def test_compressed_modules_are_unpacked_and_signatures_dropped(tmp_path: Path) -> None:
    chosen = {module.name: module for module in modules.select(str(kernels.module_tree(tmp_path)))}
    assert chosen["virtio_blk"].data.startswith(b"\x7fELF")
    assert chosen["virtio_pci"].data == kernels.module("virtio,virtio_ring,virtio_pci_modern_dev")
    assert chosen["virtio_pci"].release == kernels.RELEASE


def test_a_file_that_is_no_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ko"
    path.write_bytes(b"hello")
    with pytest.raises(ContainerError):
        modules.load(str(path))
