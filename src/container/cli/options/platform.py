"""`--platform`, `--os`, `--arch` and `CONTAINER_DEFAULT_PLATFORM` (contract 1.11)."""

from __future__ import annotations

import os

from container.cli import logger
from container.cli.spec import Option
from container.errors import ContainerError, invalid_argument
from container.model import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from container.cli.spec import Values

VARIABLE = "CONTAINER_DEFAULT_PLATFORM"


def options(group: str = "OPTIONS", *, os_default: str | None = None) -> list[Option]:
    """The three options; `os_default` is that of `--os`."""
    return [
        Option("arch", "-a, --arch", "Architecture of the image", value="arch", group=group),
        Option("os", "--os", "Operating system of the image", value="os", default=os_default, group=group),
        Option(
            "platform",
            "--platform",
            f"Platform of the image, os/arch[/variant]; wins over --os and --arch [environment: {VARIABLE}]",
            value="platform",
            group=group,
        ),
    ]


def to_run(values: Values) -> dict[str, Any]:
    """The platform of a container: `--platform`, the variable, `--os` and `--arch` with the host's as defaults."""
    if values.platform is not None:
        return _json(platform.parse(values.platform))
    return _from_environment() or _from_parts(values)


def to_filter(values: Values) -> dict[str, Any] | None:
    """The platform that an image command is limited to: `--platform`, `--os` and `--arch`, the variable, none."""
    if values.platform is not None:
        return _json(platform.parse(values.platform))
    if values.os is not None or values.arch is not None:
        return _from_parts(values)
    return _from_environment()


def _from_parts(values: Values) -> dict[str, Any]:
    return _json(platform.parse(f"{values.os or 'linux'}/{values.arch or platform.host_architecture()}"))


def _from_environment() -> dict[str, Any] | None:
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        parsed = platform.parse(text)
    except ContainerError as error:
        raise invalid_argument(f'invalid platform "{text}" in {VARIABLE} environment variable') from error
    logger.info("using platform from environment variable", platform=text, variable=VARIABLE)
    return _json(parsed)


def _json(parts: platform.Triple) -> dict[str, Any]:
    system, architecture, variant = parts
    found = {"os": system, "architecture": architecture}
    return {**found, "variant": variant} if variant else found
