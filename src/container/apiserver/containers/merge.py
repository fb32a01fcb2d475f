"""Process options over what the image, or the container's init process, says (contract 1.9). Pure functions."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from container.errors import invalid_argument
from container.model.process import ProcessConfiguration, ProcessRequest, User

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_TERM = "TERM=xterm"
NO_COMMAND = (
    "command/entrypoint not specified for container process, and the image names none; name a program after the image"
)


def init_process(request: ProcessRequest, image: dict[str, Any]) -> ProcessConfiguration:
    """The init process of a container; `image` is the `config` object of the OCI image config.

    Raises ContainerError(invalidArgument) when nothing says what to run.
    """
    command = _command(request, image)
    default = User(raw=image["User"]) if image.get("User") else User(uid=0, gid=0)
    user, groups = _user(request, default)
    return ProcessConfiguration(
        executable=command[0],
        arguments=command[1:],
        environment=_environment([image.get("Env") or [], request.environment], request.terminal),
        working_directory=request.working_directory or image.get("WorkingDir") or "/",
        terminal=request.terminal,
        user=user,
        supplemental_groups=groups,
        rlimits=list(request.rlimits),
    )


def exec_process(request: ProcessRequest, init: ProcessConfiguration) -> ProcessConfiguration:
    """A further process of a container: the init process's environment, user, directory and limits, where not given.

    Raises ContainerError(invalidArgument) for an empty command.
    """
    if not request.arguments:
        raise invalid_argument(NO_COMMAND)
    user, groups = _user(request, init.user)
    own = {limit.limit for limit in request.rlimits}
    return replace(
        init,
        executable=request.arguments[0],
        arguments=request.arguments[1:],
        environment=_environment([init.environment, request.environment], request.terminal),
        working_directory=request.working_directory or init.working_directory,
        terminal=request.terminal,
        user=user,
        supplemental_groups=groups if user != init.user else [*init.supplemental_groups, *groups],
        rlimits=[*(limit for limit in init.rlimits if limit.limit not in own), *request.rlimits],
    )


def _command(request: ProcessRequest, image: dict[str, Any]) -> list[str]:
    if request.entrypoint:
        command = [request.entrypoint, *request.arguments]
    else:
        command = [*(image.get("Entrypoint") or []), *(request.arguments or image.get("Cmd") or [])]
    if not command:
        raise invalid_argument(NO_COMMAND)
    return command


def _environment(sources: Iterable[Iterable[str]], terminal: bool) -> list[str]:
    """One entry a key: its last value, at the place where the key was first mentioned."""
    entries: dict[str, str] = {}
    for source in sources:
        for entry in source:
            key, equals, _ = entry.partition("=")
            if equals and key:
                entries[key] = entry
    merged = list(entries.values())
    if "PATH" not in entries:
        merged.insert(0, DEFAULT_PATH)
    if terminal and "TERM" not in entries:
        merged.append(DEFAULT_TERM)
    return merged


def _user(request: ProcessRequest, default: User) -> tuple[User, list[int]]:
    """User and supplementary groups: `--user`, else `--uid` and `--gid`, else the default."""
    if request.user:
        return User(raw=request.user), []
    if request.uid is not None and request.gid is not None:
        return User(uid=request.uid, gid=request.gid), []
    groups = [] if request.gid is None else [request.gid]
    return (default if request.uid is None else User(raw=str(request.uid))), groups
