"""CLI plugins: `container foo` becomes the program of the plugin `foo` (contract 4.4)."""

from __future__ import annotations

import os
import stat

from container.cli import client
from container.cli.usage import UsageError
from container.errors import ContainerError, ErrorCode
from container.paths import Roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SYNOPSIS = "container [--debug] <subcommand>"
DIRECTORIES = ("libexec/container-plugins", "libexec/container/plugins")
UNAVAILABLE = """\
Plugins are unavailable. Start the container system services and retry:

    container system start

Check to see that the plugin exists under:
{paths}
"""
NOT_FOUND = """\
Plugin 'container-{name}' not found.

- If it was to be a command of container: `container --help` lists them
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
    """Replace this process by the plugin that `words[0]` names.

    Raises UsageError when there is none, ContainerError when its program may be another user's.
    """
    name = words[0]
    if not name:
        raise _usage(f"unknown argument '{name}'")
    plugins = installed()
    program = next((str(each["program"]) for each in plugins or () if each["name"] == name), None)
    if program is None:
        raise _refusal(name, NOT_FOUND if plugins is not None else UNAVAILABLE)
    _check(program)
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.execv(program, [program, *words[1:]])  # noqa: S606


def _check(program: str) -> None:
    """Run only what lies in a plugin's folder that nobody but root and this user can change (contract 4.2)."""
    path = os.path.realpath(program)
    folder = os.path.dirname(os.path.dirname(path))
    if not any(os.path.isfile(os.path.join(folder, name)) for name in ("config.toml", "config.json")):
        raise _untrusted(program, "it lies in no plugin's folder")
    while True:
        status = os.stat(path)
        if status.st_uid not in (0, os.geteuid()):
            raise _untrusted(program, f"{path} belongs to another user, with the uid {status.st_uid}")
        theirs = 0o002 if status.st_gid in (0, os.getegid()) else 0o022
        if status.st_mode & theirs and not status.st_mode & stat.S_ISVTX:
            raise _untrusted(program, f"other users may change {path}; take that from them: chmod go-w {path}")
        if path == "/":
            return
        path = os.path.dirname(path)


def _untrusted(program: str, why: str) -> ContainerError:
    return ContainerError(ErrorCode.UNAUTHENTICATED, f"cannot run the plugin {program}: {why}")


def _refusal(name: str, otherwise: str) -> UsageError:
    """Why there is no such command; `otherwise` for a word that nothing is known of."""
    from container.cli import aliases, commands

    if (error := aliases.absent([name])) is not None:
        return error.at("container", SYNOPSIS)
    if suggestion := aliases.suggestion("container", name, commands.ROOT):
        return _usage(f"Unknown command '{name}'{suggestion}")
    return _usage(otherwise.format(name=name, paths=_hints(name)))


def _hints(name: str) -> str:
    install = Roots.from_environment().install
    return "\n".join(f"  - {os.path.join(install, directory, name)}" for directory in DIRECTORIES)


def _usage(message: str) -> UsageError:
    return UsageError(message).at("container", SYNOPSIS)
