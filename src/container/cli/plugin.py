"""CLI plugins: `container foo` becomes the program of the plugin `foo` (contract 4.4)."""

from __future__ import annotations

import os

from container.cli import client
from container.cli.usage import UsageError
from container.errors import ContainerError
from container.paths import Roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORIES = ("libexec/container-plugins", "libexec/container/plugins")
UNAVAILABLE = """\
Plugins are unavailable. Start the container system services and retry:

    container system start

Check to see that the plugin exists under:
{paths}
"""
NOT_FOUND = """\
Plugin 'container-{name}' not found.

- If system services are not running, start them with: container system start
- If the plugin isn't installed, ensure it exists under:
{paths}
"""


def installed() -> list[dict[str, Any]] | None:
    """The CLI plugins, or None when no API server answers."""
    try:
        plugins: list[dict[str, Any]] = client.call("System.CLIPlugins", timeout=client.PING_TIMEOUT)["plugins"]
    except ContainerError:
        return None
    return plugins


def become(words: list[str]) -> int:
    """Replace this process by the plugin that `words[0]` names. Raises UsageError when there is none."""
    name = words[0]
    if not name:
        raise _usage(f"unknown argument '{name}'")
    plugins = installed()
    if plugins is None:
        raise _usage(UNAVAILABLE.format(paths=_hints(name)))
    program = next((str(each["program"]) for each in plugins if each["name"] == name), None)
    if program is None:
        raise _usage(NOT_FOUND.format(name=name, paths=_hints(name)))
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.execv(program, [program, *words[1:]])  # noqa: S606


def _hints(name: str) -> str:
    install = Roots.from_environment().install
    return "\n".join(f"  - {os.path.join(install, directory, name)}" for directory in DIRECTORIES)


def _usage(message: str) -> UsageError:
    return UsageError(message).at("container", "container [--debug] <subcommand>")
