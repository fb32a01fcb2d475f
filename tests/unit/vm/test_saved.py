"""Which machines are of one shape, and what becomes of a file that is of no use."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from container.model.system import Accelerator
from container.vm import argv
from container.vm.saved import SavedMachine
from container.vm.spec import Disk, Nic, Share, VMSpec

TCG = Accelerator("tcg", "a test", 10.0, tsc_khz=2_000_000)


@pytest.fixture
def spec(tmp_path: Path) -> VMSpec:
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(b"kernel")
    return VMSpec(
        name="one",
        architecture="amd64",
        accelerator=TCG,
        kernel=str(kernel),
        initramfs="/cache/initramfs-1.cpio",
        cpus=1,
        memory_in_bytes=384 << 20,
        disks=(Disk("/a.vmdk", "image", format="vmdk", read_only=True), Disk("/upper", "upper", discard=True)),
        nics=(Nic(5),),
    )


def saved(spec: VMSpec, cache: Path, content: bytes = b"state") -> Path:
    """A file in the place of the machine of `spec`."""
    with SavedMachine.of(spec, str(cache)) as place:
        assert place.fd is None
        assert place.wanted
        assert place._path is not None
    Path(place._path).write_bytes(content)
    return Path(place._path)


def usable(spec: VMSpec, cache: Path) -> bool:
    with SavedMachine.of(spec, str(cache)) as place:
        return place.fd is not None


def test_what_differs_from_run_to_run_makes_no_difference(spec: VMSpec, tmp_path: Path) -> None:
    saved(spec, tmp_path)
    image, upper = spec.disks
    other = replace(
        spec,
        name="two",
        accelerator=replace(TCG, tsc_khz=2_000_001),
        disks=(replace(image, path="/b.vmdk"), replace(upper, path="/other", volatile=True)),
        nics=(Nic(6),),
    )
    assert usable(other, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"cpus": 2},
        {"memory_in_bytes": 385 << 20},
        {"initramfs": "/cache/initramfs-2.cpio"},
        {"kernel_arguments": ("quiet",)},
        {"nics": ()},
        {"disks": (Disk("/a.vmdk", "image", format="vmdk", read_only=True),)},
    ],
)
def test_another_shape_is_another_machine(spec: VMSpec, tmp_path: Path, change: dict[str, Any]) -> None:
    saved(spec, tmp_path)
    assert not usable(replace(spec, **change), tmp_path)


def test_another_kernel_in_the_same_file_is_another_machine(spec: VMSpec, tmp_path: Path) -> None:
    saved(spec, tmp_path)
    Path(spec.kernel).write_bytes(b"another kernel")
    assert not usable(spec, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"accelerator": replace(TCG, name="kvm")},
        {"shares": (Share("tag", 7),)},
        {"memory_in_bytes": 4 << 30},
        {"kernel": "/nonexistent"},
    ],
)
def test_machines_that_are_not_saved(spec: VMSpec, tmp_path: Path, change: dict[str, Any]) -> None:
    with SavedMachine.of(replace(spec, **change), str(tmp_path)) as place:
        assert (place.fd, place.wanted) == (None, False)
        assert place.bootable(spec) == spec


def test_a_machine_that_is_to_be_saved_boots_without_what_hinders_that(spec: VMSpec, tmp_path: Path) -> None:
    with SavedMachine.of(spec, str(tmp_path)) as place:
        image, upper = place.bootable(spec).disks
    assert (image.format, image.path, image.serial, image.read_only) == (argv.NOTHING, "", "image", True)
    assert upper == spec.disks[1]


def test_a_file_that_was_of_no_use_is_neither_used_nor_made_again(spec: VMSpec, tmp_path: Path) -> None:
    path = saved(spec, tmp_path)
    with SavedMachine.of(spec, str(tmp_path)) as place:
        assert place.fd is not None
        assert os.pread(place.fd, 10, 0) == b"state"
        place.discard()
        assert place.fd is None
    assert path.stat().st_size == 0
    with SavedMachine.of(spec, str(tmp_path)) as place:
        assert (place.fd, place.wanted) == (None, False)
