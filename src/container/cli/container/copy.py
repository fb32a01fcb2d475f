"""`container copy SRC DST`."""

from __future__ import annotations

import os

from container.cli import client, output
from container.cli.spec import Argument, Command, Values
from container.errors import ContainerError, ErrorCode, invalid_argument

STREAM = "-"


class Place:
    """One side of a copy: a path of the host, `-`, or `id:path` of a container (`id` None: the host)."""

    def __init__(self, text: str) -> None:
        """Raises ContainerError(invalidArgument)."""
        before, colon, after = text.partition(":")
        self.text = text
        self.id: str | None = None
        self.path = text
        if not text:
            raise invalid_argument("cannot copy: invalid path given: it is empty")
        if colon and before and "/" not in before and not before.startswith("."):
            if not after.startswith("/"):
                hint = f"a path in a container begins with a slash, as in {before}:/{after}"
                raise invalid_argument(f"cannot copy: invalid path given: {text}; {hint}")
            self.id, self.path = before, after

    @property
    def name(self) -> str:
        """What a copy of it is called: the last component, "" for what has none."""
        name = self.path.rstrip("/").rpartition("/")[2]
        return "" if name in (".", "..") else name


def run(values: Values) -> int:
    """Copy files between the host and a running container; print where they are now."""
    source, target = Place(values.source), Place(values.destination)
    if source.id is not None and target.id is not None:
        raise invalid_argument(
            f"cannot copy from {source.id} to {target.id}: copying between containers is not supported; "
            "copy to the host first"
        )
    if target.id is not None:
        where = _stream_into(target) if source.text == STREAM else _copy_into(source, target)
    elif source.id is not None:
        where = _stream_from(source) if target.text == STREAM else _copy_from(source, target)
    else:
        raise invalid_argument(
            f"cannot copy {source.text} to {target.text}: "
            "one of source or destination must be a container reference (container_id:path)"
        )
    if where:
        output.line(where)
    return 0


def _copy_into(source: Place, target: Place) -> str:
    from container.cli.tar import Tar

    with Tar("pack", os.path.join(os.getcwd(), source.path)) as tar:
        error = _call("CopyIn", target, {"members": False, "archive": 0}, tar.pipe)
        failure = tar.finish() or error
    if failure is not None:
        raise failure
    return target.text + source.name if target.path.endswith("/") else target.text


def _copy_from(source: Place, target: Place) -> str:
    from container.cli.tar import Tar

    with Tar("unpack", _absolute(target.path), source.name) as tar:
        error = _call("CopyOut", source, {"attributes": False, "archive": 0}, tar.pipe)
        failure = tar.finish()
        if failure is not None and failure.code is ErrorCode.INTERRUPTED:  # by what became of the container's end
            failure = error or failure
        if failure is None:
            failure = error
        place = tar.place()
    if failure is not None:
        raise failure
    return place


def _stream_into(target: Place) -> str:
    if os.isatty(0):
        raise invalid_argument(
            f"cannot copy to {target.text}: the archive is read from standard input, which is a terminal; redirect it"
        )
    error = _call("CopyIn", target, {"members": True, "archive": 0}, 0)
    if error is not None:
        raise error
    return target.text


def _stream_from(source: Place) -> str:
    if os.isatty(1):
        raise invalid_argument(
            f"cannot copy from {source.text}: the archive would be written to a terminal; redirect it"
        )
    error = _call("CopyOut", source, {"attributes": True, "archive": 0}, 1)
    if error is not None:
        raise error
    return ""


def _call(method: str, place: Place, parameters: dict[str, object], fd: int) -> ContainerError | None:
    try:
        client.call(f"Files.{method}", {"id": place.id, "path": place.path, **parameters}, fds=[fd], timeout=None)
    except ContainerError as error:
        return error
    return None


def _absolute(path: str) -> str:
    """From the root, plain where that changes nothing, and with its slash at the end."""
    absolute = os.path.join(os.getcwd(), path)
    if ".." in absolute.split("/"):
        return absolute
    return os.path.normpath(absolute) + ("/" if path.endswith("/") and path.strip("/") else "")


COMMAND = Command(
    "Copy files between a container and the host",
    run,
    arguments=[
        Argument("source", "source", "What to copy: a path, container:path, or - for a tar archive on standard input"),
        Argument(
            "destination", "destination", "Where to: container:path, a path, or - for a tar archive on standard output"
        ),
    ],
    discussion="""What goes into an existing directory keeps its name there; else the destination names it.
Files belong to root in a container, and to you on the host; an archive (-) keeps the owners that it has.""",
)
