"""Platforms `os/architecture[/variant]` (contract 1.11) as text and tuples: cheap to import, unlike `model.image`."""

import os
import re

from container.errors import invalid_argument

_SYSTEMS = ("linux", "windows", "darwin")
_ALIASES = {
    "aarch64": ("arm64", None),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "i386": ("386", None),
    "i686": ("386", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_MACHINES = {"armv7l": "arm", "armv6l": "arm/v6"}
_ARCHITECTURE = re.compile(r"[a-z0-9_-]+")
EXPECTED = "expected os/architecture[/variant], as linux/amd64"
_VARIANT = re.compile(r"v?[0-9]+(?:\.[0-9]+)?")

Triple = tuple[str, str, str | None]


def parse(text: str) -> Triple:
    """(os, architecture, variant or None), normalised.

    Raises ContainerError(invalidArgument): `missing OS in X`, `unknown OS in X`, `missing architecture in X`,
    `invalid variant V`.
    """
    system, _, rest = text.strip().partition("/")
    architecture, _, variant = rest.partition("/")
    if not system:
        raise invalid_argument(f"missing OS in {text}; {EXPECTED}")
    if system.lower() not in _SYSTEMS:
        raise invalid_argument(f"unknown OS in {text}; {EXPECTED}")
    if not _ARCHITECTURE.fullmatch(architecture.lower()):
        raise invalid_argument(f"missing architecture in {text}; {EXPECTED}")
    return normalise(system, architecture, variant or None)


def normalise(system: str, architecture: str, variant: str | None = None) -> Triple:
    """Canonical spelling of a platform's parts. Raises ContainerError(invalidArgument) `invalid variant V`."""
    architecture = architecture.lower()
    architecture, implied = _ALIASES.get(architecture, (architecture, None))
    return system.lower(), architecture, _variant(architecture, variant or implied)


def display(system: str, architecture: str, variant: str | None = None) -> str:
    """`linux/arm/v7`."""
    return "/".join(part for part in (system, architecture, variant) if part)


def host_architecture() -> str:
    """This machine's architecture as platforms spell it, e.g. `amd64`."""
    machine = os.uname().machine
    return _ALIASES.get(machine, (_MACHINES.get(machine, machine), None))[0]


def _variant(architecture: str, variant: str | None) -> str | None:
    text = (variant or "").lower()
    if text and not _VARIANT.fullmatch(text):
        raise invalid_argument(f"invalid variant {variant}")
    if text and not text.startswith("v"):
        text = f"v{text}"
    if architecture == "arm":
        if text and text not in ("v5", "v6", "v7", "v8"):
            raise invalid_argument(f"invalid variant {variant}")
        return text or "v7"
    if (architecture, text) in (("arm64", "v8"), ("amd64", "v1")):
        return None
    return text or None
