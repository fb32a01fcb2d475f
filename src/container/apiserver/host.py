"""What the API server knows of the machine it is on."""

import os

from container.linux import native
from container.model.network_options import Means

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """The host's architecture as OCI names it."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def means() -> Means:
    """What it and this user have for the ways out of networks."""
    return Means(root=os.geteuid() == 0, installed=native.is_installed)
