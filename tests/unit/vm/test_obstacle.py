"""What is said of a KVM that cannot be used names the cause at hand and what removes it."""

import grp
import os
from pathlib import Path

import pytest

from container.vm import obstacle

NOBODY = 65534
AGAIN = "log in again"


def find() -> obstacle.Obstacle:
    found = obstacle.find("amd64", "amd64")
    assert found is not None
    return found


def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\nflags\t\t: fpu {flags} sse\n\nprocessor : 1\n")
    monkeypatch.setattr(obstacle, "CPU_FILE", str(path))


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        ("", "switch on virtualization (Intel VT-x, AMD-V or SVM) in the firmware"),
        ("hypervisor", "switch on nested virtualization where this machine, itself a virtual one, is run"),
        ("vmx", "`sudo modprobe kvm_intel`"),
        ("svm hypervisor", "`sudo modprobe kvm_amd`"),
    ],
)
def test_a_device_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, advice: str) -> None:
    monkeypatch.setattr(obstacle, "KVM_DEVICE", str(tmp_path / "kvm"))
    cpu(tmp_path, monkeypatch, flags)
    found = find()
    assert found.reason.endswith("/kvm does not exist")
    assert advice in str(found.advice)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device of group `tty` that this process, said to be nobody's, may not open."""
    path = tmp_path / "kvm"
    path.touch()
    path.chmod(0o660)
    if os.getuid() == 0:
        os.chown(path, 0, grp.getgrnam("tty").gr_gid)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(obstacle, "KVM_DEVICE", str(path))
    monkeypatch.setattr(obstacle.os, "open", refuse)
    monkeypatch.setattr(obstacle.os, "getuid", lambda: NOBODY)
    return path


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another group")
def test_a_user_outside_the_group_of_the_device(device: Path) -> None:
    found = find()
    assert found.reason == f"the user nobody may not open {device}"
    assert str(found.advice).startswith(f"`sudo adduser nobody tty`, {AGAIN}, and start the system again: container sy")


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another group")
def test_a_user_who_was_put_into_the_group_and_has_not_logged_in_since(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = grp.struct_group(("tty", "x", 5, ["nobody"]))
    monkeypatch.setattr(obstacle.grp, "getgrgid", lambda gid: members)
    found = find()
    assert found.reason == f"the user nobody may not open {device} yet"
    assert str(found.advice).startswith(f"{AGAIN}, as group tty has nobody since")


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another group")
def test_a_device_that_no_group_may_open(device: Path) -> None:
    device.chmod(0o600)
    assert f"sudo chown root:kvm {device} && sudo chmod 660 {device} && sudo adduser nobody kvm" in str(find().advice)


def test_root_is_refused_in_a_container_only(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacle.os, "getuid", lambda: 0)
    assert find() == (
        f"the user root may not open {device}",
        f"have the container that this is in started with --device {device}",
    )


def test_a_device_under_which_nothing_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(tmp_path, monkeypatch, "vmx hypervisor")
    found = obstacle.broken("a test boot failed")
    assert found.reason == "/dev/kvm opens, but a test boot failed"
    assert "nested virtualization" in str(found.advice)
    cpu(tmp_path, monkeypatch, "vmx")
    assert "dmesg" in str(obstacle.broken("a test boot failed").advice)


def test_emulation_that_was_chosen_needs_no_advice() -> None:
    assert obstacle.find("arm64", "amd64") == ("the guest is arm64, the host amd64", None)
