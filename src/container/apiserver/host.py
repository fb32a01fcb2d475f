"""What the API server knows of the machine it is on."""

import os

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """The host's architecture as OCI names it."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)
