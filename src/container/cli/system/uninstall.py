"""`container system uninstall [-y] [-f] [-a DIR] [--log-root DIR]`."""

from __future__ import annotations

import os
import sys

from container.cli import client, logger, output, sizes
from container.cli.spec import Command, Option, Values, flag
from container.cli.system import question, removal, stop
from container.errors import ContainerError, ErrorCode
from container.paths import Roots, usual_app_root
from container.supervisor import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from container.cli.system.removal import Root

LOGINS, SETTINGS = "config.json", "config.toml"  # in the user's configuration directory
SERVICES = ("container.supervisor.main", "container.apiserver.main", "container.plugins.")
RECORD = "supervisor.services"  # of a supervisor that was killed, in the run root


def run(values: Values) -> int:
    """Say what goes, ask, stop the system and remove all that it left; say what remains."""
    roots = _roots(values)
    _check_stopped(values.force)
    places = [removal.Root(roots.app, removal.APP), removal.Root(roots.run, removal.RUN)]
    usual = os.path.realpath(roots.app) == os.path.realpath(usual_app_root())
    if not usual:
        places[0].check_system()
    if os.path.realpath(roots.log) not in places[0].ours:
        places.append(removal.Root(roots.log, removal.LOG))
    logins = os.path.join(os.path.dirname(roots.config), LOGINS)
    files = [logins] if usual and os.path.isfile(logins) else []  # those of other roots may belong to another system
    going = [*(place for place in places if place.ours), *files]
    if not going:
        output.line(f"There is nothing to remove in {roots.app} and {roots.run}.")
    elif not values.yes and not values.force and not question.ask(_plan(roots, places, files), "--yes"):
        logger.info("Nothing was removed.")
        return 0
    if os.path.exists(os.path.join(roots.run, RECORD)):
        launch.ensure_running(roots)  # a new supervisor ends what one that was killed left running
    stop.run(values)
    _check_ended(roots)
    freed = _remove(places, files)
    if going:
        output.line(f"Freed {sizes.decimal(freed, '0 B')}.")
    _tell_rest(roots, places, files)
    return 0


def _roots(values: Values) -> Roots:
    """The roots of the system that runs, else those asked for."""
    for name in ("app", "log"):
        path = getattr(values, f"{name}_root")
        if path is not None:
            os.environ[f"CONTAINER_{name.upper()}_ROOT"] = os.path.abspath(path)
    roots = Roots.from_environment()
    removal.check_owner(roots.run)  # before anything is believed that is said there
    health = client.health() if launch.is_running(roots) else None
    if health is None:
        return roots
    if values.app_root is not None and os.path.realpath(health["appRoot"]) != os.path.realpath(roots.app):
        text = f"the system that runs has the app root {health['appRoot']}, not {roots.app}: stop it first"
        raise ContainerError(ErrorCode.INVALID_STATE, f"{text}: container system stop")
    roots.app, roots.log = health["appRoot"], health["logRoot"]
    return roots


def _check_stopped(force: bool) -> None:
    """Raise ContainerError(invalidState) while containers run, which nobody said should be stopped."""
    if force or not launch.is_running(Roots.from_environment()):
        return
    running = [str(each["id"]) for each in client.containers(all=False)]
    if running:
        names = ", ".join(running)
        text = f"cannot remove the system while containers run ({names}): stop them, or use --force, which does"
        raise ContainerError(ErrorCode.INVALID_STATE, text)


def _plan(roots: Roots, places: list[Root], files: list[str]) -> list[str]:
    counts = f"{_count(roots, 'container')}, {_count(roots, 'volume')}"
    lines = [f"This will remove the system, with {counts} and all images, for good:"]
    for place in (each for each in places if each.ours):
        names = ", ".join(os.path.basename(path) for path in place.ours)
        lines.append(f"  - {place.path} ({sizes.decimal(removal.size(place.ours), '0 B')}): {names}")
    return lines + [f"  - {file} (logins to registries)" for file in files]


def _count(roots: Roots, noun: str) -> str:
    """`1 container`, `2 volumes`."""
    try:
        number = sum(not each.startswith(".") for each in os.listdir(os.path.join(roots.app, f"{noun}s")))
    except OSError:
        number = 0
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _check_ended(roots: Roots) -> None:
    """Raise ContainerError(invalidState) when services still use the app root: those of another run root."""
    app = os.path.realpath(roots.app)
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = dict(each.partition("=")[::2] for each in os.fsdecode(file.read()).split("\0"))
        except OSError:
            continue
        used = variables.get("CONTAINER_APP_ROOT")
        if used and any(word.startswith(SERVICES) for word in words) and os.path.realpath(used) == app:
            text = f"cannot remove {roots.app}: a service of it still runs (process {pid})"
            hint = f"stop it first: CONTAINER_RUN_ROOT={variables.get('CONTAINER_RUN_ROOT', '')} container system stop"
            raise ContainerError(ErrorCode.INVALID_STATE, f"{text}; {hint}")


def _remove(places: list[Root], files: list[str]) -> int:
    """Remove it all and say so; the bytes that this freed."""
    freed = 0
    for place in places:
        again = removal.Root(place.path, place.made)  # stopping made and removed files
        size = removal.size(again.ours) if again.ours else 0
        again.remove()
        if place.ours:
            output.line(f"Removed {place.path} ({sizes.decimal(size, '0 B')})")
        freed += size
    for file in files:
        os.unlink(file)
        output.line(f"Removed {file}")
    return freed


def _tell_rest(roots: Roots, places: list[Root], files: list[str]) -> None:
    """What remains, and how it goes."""
    directory = os.path.dirname(roots.config)
    for place in places:
        for path in place.others:
            output.line(f"{path} stays: the system did not make it")
    kept = [(SETTINGS, "your settings"), (LOGINS, "your logins to registries")]
    for name, what in kept:
        path = os.path.join(directory, name)
        if os.path.exists(path) and path not in files:
            output.line(f"{path} stays, {what}: remove it with: rm {path}")
    output.line(f"The program stays. {_program()}")


def _program() -> str:
    """Where the program itself is, or how it is removed."""
    import json
    from importlib import metadata

    try:
        origin = json.loads(metadata.distribution("container").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    if origin.get("dir_info", {}).get("editable"):
        return f"It runs from the clone {str(origin['url']).removeprefix('file://')}"
    return f"Remove it with: {sys.executable} -m pip uninstall container"


COMMAND = Command(
    "Remove the system with all its containers, images and volumes",
    run,
    options=[
        flag("yes", "-y, --yes", "Do not ask"),
        flag("force", "-f, --force", "Do not ask, and stop the containers that run"),
        Option("app_root", "-a, --app-root", "Directory of the system's data, where it is not the usual", value="dir"),
        Option("log_root", "--log-root", "Directory of the services' logs, where it is not the usual", value="dir"),
    ],
)
