"""The accelerator's verdict, as far as it needs no boot."""

import os
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.model.system import Kernel
from container.paths import Roots
from container.store import atomic
from container.vm import obstacle, probe


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots(str(tmp_path / "app"), "", "", "", "")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel file, a host with a QEMU for it and a /dev/kvm that opens."""
    monkeypatch.delenv(probe.VARIABLE, raising=False)
    monkeypatch.setattr(obstacle, "KVM_DEVICE", "/dev/null")
    monkeypatch.setattr(probe.platform, "machine", lambda: "x86_64")
    binary = tmp_path / "bin" / "qemu-system-x86_64"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    (tmp_path / "vmlinux").write_bytes(b"kernel")
    return Kernel(str(tmp_path / "vmlinux"), "amd64")


def keep(roots: Roots, kernel: Kernel, name: str = "kvm") -> None:
    os.makedirs(roots.app, exist_ok=True)
    record = {"key": probe._key(kernel), "verdict": {"name": name, "reason": "measured", "speed": 3.0}}
    atomic.write_json(os.path.join(roots.app, "accelerator.json"), record)


@pytest.mark.parametrize(("device", "reason"), [("/nonexistent", "does not exist"), ("/proc", "cannot be opened")])
def test_without_a_usable_device_it_is_tcg(
    roots: Roots, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, device: str, reason: str
) -> None:
    monkeypatch.setattr(obstacle, "KVM_DEVICE", device)
    verdict = probe.recorded(roots, kernel)
    assert verdict is not None
    assert (verdict.name, verdict.speed) == ("tcg", probe.TCG_SPEED)
    assert reason in verdict.reason


def test_another_architecture_is_emulated(roots: Roots, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe.platform, "machine", lambda: "aarch64")
    verdict = probe.recorded(roots, kernel)
    assert verdict is not None
    assert (verdict.name, verdict.reason) == ("tcg", "the guest is amd64, the host arm64")


def test_a_device_that_opens_proves_nothing(roots: Roots, kernel: Kernel) -> None:
    assert probe.recorded(roots, kernel) is None


def test_a_verdict_is_kept_until_kernel_or_qemu_change(roots: Roots, kernel: Kernel, tmp_path: Path) -> None:
    keep(roots, kernel)
    assert probe.recorded(roots, kernel) is not None
    (tmp_path / "bin" / "qemu-system-x86_64").write_text("#!/bin/sh\n# upgraded\n")
    assert probe.recorded(roots, kernel) is None
    keep(roots, kernel)
    Path(kernel.path).write_bytes(b"another kernel")
    assert probe.recorded(roots, kernel) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}'])
def test_a_damaged_record_is_made_again(roots: Roots, kernel: Kernel, content: str) -> None:
    os.makedirs(roots.app)
    Path(roots.app, "accelerator.json").write_text(content)
    assert probe.recorded(roots, kernel) is None


def test_the_environment_decides_without_a_boot(roots: Roots, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tcg", "kvm"):
        monkeypatch.setenv(probe.VARIABLE, name)
        verdict = probe.recorded(roots, kernel)
        assert verdict is not None
        assert verdict.name == name
        assert probe.VARIABLE in verdict.reason


def test_forced_kvm_keeps_the_speed_that_was_measured(
    roots: Roots, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(roots, kernel)
    monkeypatch.setenv(probe.VARIABLE, "kvm")
    verdict = probe.recorded(roots, kernel)
    assert verdict is not None
    assert verdict.speed == 3.0


def test_another_value_is_an_invalid_argument(roots: Roots, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(probe.VARIABLE, "xen")
    with pytest.raises(ContainerError, match="expected auto, kvm or tcg"):
        probe.recorded(roots, kernel)


def test_a_host_without_qemu_is_told_what_to_install(
    roots: Roots, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ContainerError, match="qemu-system-x86") as caught:
        probe.recorded(roots, kernel)
    assert caught.value.code is ErrorCode.UNSUPPORTED
