"""Why KVM cannot be used here, and what the user can do about it: the words behind a verdict for emulation."""

import errno
import grp
import os
import pwd
import stat
from typing import NamedTuple

from container.errors import os_reason

KVM_DEVICE = "/dev/kvm"
CPU_FILE = "/proc/cpuinfo"
RESTART = "start the system again: container system stop && container system start"
_DRIVERS = {"vmx": "kvm_intel", "svm": "kvm_amd"}  # flag of /proc/cpuinfo: module
_ACCESS = 0o060  # what the group of the device needs
_LOOK = "look for the cause in `sudo dmesg | grep -i kvm` (another hypervisor may have the processor)"


class Obstacle(NamedTuple):
    """What stands in the way, and what to do, as an order; None: nothing needs to be done."""

    reason: str
    advice: str | None


def find(architecture: str, host: str) -> Obstacle | None:
    """The obstacle, as far as that can be told without a boot, for a guest and a host of these architectures."""
    if architecture != host:
        return Obstacle(f"the guest is {architecture}, the host {host}", None)
    try:
        os.close(os.open(KVM_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Obstacle(f"{KVM_DEVICE} does not exist", _missing())
    except PermissionError:
        return _forbidden()
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            return Obstacle(f"{KVM_DEVICE} has no driver", _missing())
        return Obstacle(f"{KVM_DEVICE} cannot be opened: {os_reason(error)}", _LOOK)
    return None


def broken(reason: str) -> Obstacle:
    """The obstacle of a device that opens, under which no machine boots."""
    nested = "have nested virtualization repaired where this machine, itself a virtual one, is run"
    return Obstacle(f"{KVM_DEVICE} opens, but {reason}", nested if "hypervisor" in _flags() else _LOOK)


def _missing() -> str | None:
    """What to do where there is no device: the processor's flags tell whether it could have a driver."""
    flags = _flags()
    driver = next((module for flag, module in _DRIVERS.items() if flag in flags), None)
    if driver is not None:
        return (
            f"load its driver with `sudo modprobe {driver}` (inside a container: have it started with --device "
            f"{KVM_DEVICE}), then {RESTART}"
        )
    if "hypervisor" in flags:
        return "switch on nested virtualization where this machine, itself a virtual one, is run"
    return "switch on virtualization (Intel VT-x, AMD-V or SVM) in the firmware (BIOS or UEFI) of this machine"


def _forbidden() -> Obstacle:
    user = pwd.getpwuid(os.getuid()).pw_name if _is_known(os.getuid()) else str(os.getuid())
    reason = f"the user {user} may not open {KVM_DEVICE}"
    if os.getuid() == 0:
        return Obstacle(reason, f"have the container that this is in started with --device {KVM_DEVICE}")
    found = os.stat(KVM_DEVICE)
    try:
        group = grp.getgrgid(found.st_gid)
    except KeyError:
        group = None
    if group is None or group.gr_gid == 0 or stat.S_IMODE(found.st_mode) & _ACCESS != _ACCESS:
        given = f"sudo chown root:kvm {KVM_DEVICE} && sudo chmod 660 {KVM_DEVICE} && sudo adduser {user} kvm"
        return Obstacle(reason, f"`{given}`, log in again, and {RESTART}")
    if user in group.gr_mem:
        return Obstacle(f"{reason} yet", f"log in again, as group {group.gr_name} has {user} since, and {RESTART}")
    return Obstacle(reason, f"`sudo adduser {user} {group.gr_name}`, log in again, and {RESTART}")


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _flags() -> frozenset[str]:
    """The processor's flags (`hypervisor`: it is a virtual one); none where the file has no such line."""
    try:
        with open(CPU_FILE, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()
