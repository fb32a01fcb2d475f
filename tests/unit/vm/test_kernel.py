"""The kernel store."""

import gzip
import os
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.paths import Roots
from container.vm.kernel import KernelStore

from . import kernels


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    return KernelStore(Roots(str(tmp_path / "app"), "", "", "", ""))


@pytest.fixture
def binary(tmp_path: Path) -> str:
    path = tmp_path / f"vmlinuz-{kernels.RELEASE}"
    path.write_bytes(kernels.bzimage(gzip.compress(kernels.elf())))
    return str(path)


@pytest.fixture
def tree(tmp_path: Path) -> str:
    return str(kernels.module_tree(tmp_path / "modules"))


def code(caught: "pytest.ExceptionInfo[ContainerError]") -> ErrorCode:
    return caught.value.code


def test_there_is_no_default_before_an_install(store: KernelStore) -> None:
    assert store.default("amd64") is None


def test_an_installed_kernel_is_the_default(store: KernelStore, binary: str, tree: str) -> None:
    installed = store.install(binary, tree, "amd64")
    assert store.default("amd64") == installed
    assert installed.release == kernels.RELEASE
    assert Path(installed.path).read_bytes() == kernels.elf()
    assert installed.modules is not None
    assert "virtio_blk.ko" in os.listdir(installed.modules)
    assert "nfs.ko" not in os.listdir(installed.modules)
    assert store.default("arm64") is None


def test_what_is_installed_can_be_installed_from(store: KernelStore, binary: str, tree: str, tmp_path: Path) -> None:
    installed = store.install(binary, tree, "amd64")
    other = KernelStore(Roots(str(tmp_path / "other"), "", "", "", ""))
    again = other.install(installed.path, installed.modules, "amd64")
    assert again.release == installed.release
    assert again.modules is not None
    assert installed.modules is not None
    assert sorted(os.listdir(again.modules)) == sorted(os.listdir(installed.modules))


def test_the_same_name_again_needs_force(store: KernelStore, binary: str, tree: str) -> None:
    store.install(binary, tree, "amd64")
    with pytest.raises(ContainerError, match="--force") as caught:
        store.install(binary, tree, "amd64")
    assert code(caught) is ErrorCode.EXISTS
    store.install(binary, tree, "amd64", force=True)
    assert [name for name in os.listdir(store.directory) if name.startswith(".")] == [".lock"]


def test_a_second_kernel_becomes_the_default(store: KernelStore, binary: str, tree: str, tmp_path: Path) -> None:
    store.install(binary, tree, "amd64")
    own = tmp_path / "mine"
    own.write_bytes(kernels.elf(banner=b"Linux version 9.9.9 (x)"))
    assert store.install(str(own), None, "amd64").release == "9.9.9"
    default = store.default("amd64")
    assert default is not None
    assert (default.release, default.modules) == ("9.9.9", None)


def test_a_failed_install_leaves_the_default_alone(store: KernelStore, binary: str, tree: str, tmp_path: Path) -> None:
    before = store.install(binary, tree, "amd64")
    broken = tmp_path / "broken"
    broken.write_bytes(b"no kernel")
    with pytest.raises(ContainerError) as caught:
        store.install(str(broken), None, "amd64")
    assert code(caught) is ErrorCode.INVALID_ARGUMENT
    assert store.default("amd64") == before


def test_modules_of_another_release_are_refused(store: KernelStore, tree: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(kernels.elf(banner=b"Linux version 9.9.9 (x)"))
    with pytest.raises(ContainerError, match=r"belong to kernel 6\.1\.0-test, not to 9\.9\.9"):
        store.install(str(other), tree, "amd64")


def test_a_kernel_of_another_architecture_is_refused(store: KernelStore, binary: str) -> None:
    with pytest.raises(ContainerError, match="for amd64, not for arm64"):
        store.install(binary, None, "arm64")
    with pytest.raises(ContainerError, match="unsupported architecture riscv64"):
        store.install(binary, None, "riscv64")


def test_missing_modules_directory_is_named(store: KernelStore, binary: str) -> None:
    with pytest.raises(ContainerError, match="/nonexistent") as caught:
        store.install(binary, "/nonexistent", "amd64")
    assert code(caught) is ErrorCode.NOT_FOUND


def test_a_default_that_leads_nowhere_is_reported(store: KernelStore, binary: str, tree: str) -> None:
    installed = store.install(binary, tree, "amd64")
    os.unlink(installed.path)
    with pytest.raises(ContainerError, match="is gone"):
        store.default("amd64")


def test_a_corrupt_record_is_reported_with_its_path(store: KernelStore, binary: str, tree: str) -> None:
    installed = store.install(binary, tree, "amd64")
    Path(installed.path).with_name("kernel.json").write_text("{")
    with pytest.raises(ContainerError, match=r"kernel\.json"):
        store.default("amd64")


def test_a_kernel_by_path_borrows_the_modules_of_its_release(
    store: KernelStore, binary: str, tree: str, tmp_path: Path
) -> None:
    installed = store.install(binary, tree, "amd64")
    found = store.adhoc(binary, "amd64")
    assert (found.path, found.modules) == (binary, installed.modules)
    with pytest.raises(ContainerError, match="kernel file not found at path /nope"):
        store.adhoc("/nope", "amd64")


@pytest.fixture
def old(store: KernelStore, binary: str, tree: str, tmp_path: Path) -> str:
    """The directory of a kernel that is no default any more."""
    installed = store.install(binary, tree, "amd64")
    own = tmp_path / "mine"
    own.write_bytes(kernels.elf())
    store.install(str(own), None, "amd64")
    return os.path.dirname(installed.path)


def test_kernels_are_listed_and_removed_whatever_their_records_say(store: KernelStore, old: str) -> None:
    default = os.path.join(store.directory, "mine")
    Path(old, "kernel.json").write_text("[")
    assert store.installed() == {old: False, default: True}
    store.remove(old)
    assert store.installed() == {default: True}


def test_a_removal_that_was_killed_is_finished_by_the_next_one(store: KernelStore, old: str) -> None:
    Path(store.directory, f".partial-{os.path.basename(old)}", "modules").mkdir(parents=True)
    store.remove(old)
    assert [name for name in os.listdir(store.directory) if name.startswith((".p", "vmlinuz"))] == []
