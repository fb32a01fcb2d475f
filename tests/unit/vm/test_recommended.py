"""The recommended kernel, from an apt that we play."""

import gzip
import os
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.model.event import Progress
from container.paths import Roots
from container.vm.kernel import KernelStore

from . import kernels

PACKAGE = f"linux-image-{kernels.RELEASE.replace('test', '1-cloud-amd64')}"


class Host:
    """A PATH with our own apt tools; each script sees `$DATA`, a directory of this test."""

    def __init__(self, tmp_path: Path) -> None:
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        self.data = tmp_path / "data"
        release = kernels.RELEASE
        (self.data / "root" / "boot").mkdir(parents=True)
        image = kernels.bzimage(gzip.compress(kernels.elf()))
        (self.data / "root" / "boot" / f"vmlinuz-{release}").write_bytes(image)
        kernels.module_tree(self.data / "root" / "lib" / "modules" / release)
        self.tool("dpkg", "echo amd64")
        self.tool("dpkg-deb", f'[ "$1" = --info ] && exit 0; mkdir -p "$3"; cp -r {self.data}/root/. "$3"')
        self.tool("apt-cache", self.cache())
        self.tool("apt-get", self.get())

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def cache(self, lists: str = "/") -> str:
        return (
            f'[ -e {lists} ] || {{ echo "E: No packages found" >&2; exit 100; }}\n'
            f'case "$*" in *show*) echo "Size: 1000" ;;\n'
            f"*depends*linux-image-cloud-amd64) echo linux-image-cloud-amd64; echo '  Depends: {PACKAGE}' ;;\n"
            f"*depends*{PACKAGE}) echo '  Depends: kmod' ;; *) exit 100 ;; esac"
        )

    def get(self, update: str = ":") -> str:
        return (
            f'case "$*" in *update*) {update} ;; *) echo dlstatus:1:50.0:Retrieving; '
            f"echo noise; echo dlstatus:1:100:Done; : > {PACKAGE}_1_amd64.deb ;; esac"
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    found = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{found.bin}:/usr/bin:/bin")
    return found


@pytest.fixture
def store(tmp_path: Path) -> KernelStore:
    return KernelStore(Roots(str(tmp_path / "app"), "", "", "", ""))


async def install(store: KernelStore) -> list[Progress]:
    async with aclosing(store.install_recommended("amd64")) as steps:
        return [step async for step in steps]


async def test_it_is_downloaded_unpacked_and_made_the_default(host: Host, store: KernelStore) -> None:
    steps = await install(store)
    assert [step.step for step in steps] == sorted(step.step for step in steps)
    assert {step.description for step in steps} == {
        "Downloading kernel",
        "Verifying kernel archive",
        "Unpacking kernel",
    }
    assert (steps[1].bytes, steps[1].total_bytes) == (500, 1000)
    default = store.default("amd64")
    assert default is not None
    assert default.release == kernels.RELEASE
    assert default.modules is not None
    assert all(not name.startswith(".download") for name in os.listdir(store.directory))


async def test_a_host_without_package_lists_gets_its_own(host: Host, store: KernelStore) -> None:
    host.tool("apt-cache", host.cache(lists=f"{host.data}/updated"))
    host.tool("apt-get", host.get(update=f": > {host.data}/updated"))
    await install(store)
    assert store.default("amd64") is not None


async def test_a_package_that_apt_does_not_know_is_unsupported(host: Host, store: KernelStore) -> None:
    host.tool("apt-cache", "exit 100")
    with pytest.raises(ContainerError, match="--binary PATH --modules DIRECTORY") as caught:
        await install(store)
    assert caught.value.code is ErrorCode.UNSUPPORTED


async def test_a_failed_download_says_what_apt_said(host: Host, store: KernelStore) -> None:
    host.tool("apt-get", 'echo "E: Failed to fetch it: 404" >&2; exit 100')
    with pytest.raises(ContainerError, match="Failed to fetch it: 404"):
        await install(store)
    assert store.default("amd64") is None


async def test_a_host_without_apt_is_unsupported(
    store: KernelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContainerError, match="apt-get is not there") as caught:
        await install(store)
    assert caught.value.code is ErrorCode.UNSUPPORTED


async def test_stopping_early_leaves_nothing_behind(host: Host, store: KernelStore) -> None:
    sleeper = f"exec {sys.executable} -c 'import time; time.sleep(60)'"
    host.tool("apt-get", f"echo dlstatus:1:1.0:Retrieving; {sleeper}")
    async with aclosing(store.install_recommended("amd64")) as steps:
        async for step in steps:
            if step.bytes:
                break
    assert os.listdir(store.directory) == []
