"""What streaming calls report while they work."""

from dataclasses import dataclass

from container.model.image import Rootfs


@dataclass(frozen=True)
class ProgressPart:
    """One of several things under way side by side, a layer say: `name` as shown, e.g. 12 digits of its digest.

    `state` is one word or two, e.g. `waiting`, `downloading`, `unpacking`, `exists`, `done`.
    """

    name: str
    state: str
    bytes: int = 0
    total_bytes: int | None = None


@dataclass(frozen=True)
class Progress:
    """A step of a longer task: `step` of `steps` begins at 1; `items` and `bytes` count within the step.

    `parts`, where a step has any, is all of them in the order in which they are shown.
    """

    description: str
    step: int = 0
    steps: int = 0
    items: int | None = None
    total_items: int | None = None
    bytes: int | None = None
    total_bytes: int | None = None
    parts: list[ProgressPart] | None = None
    note: str | None = None  # why it takes long, in a few words


@dataclass(frozen=True)
class ProcessEvent:
    """One reply of `start` and `exec`; exactly one of `progress`, `notice`, `ready`, `started` and `exit_code` is set.

    `ready` asks a caller with an attachment to send a byte there: until then nothing goes through its streams.
    `exit_code` is the process's own, or 128 + the signal that ended it; `reason` goes with it when the process did not
    end by itself.
    """

    progress: Progress | None = None
    notice: str | None = None  # a sentence for the user
    ready: bool | None = None
    started: bool | None = None
    process: str | None = None  # id to name the process by: the container's id for its init process
    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class CreateEvent:
    """One reply of `create`; the last one has the id. `volumes` are names of volumes that were made for it."""

    progress: Progress | None = None
    id: str | None = None
    volumes: list[str] | None = None


@dataclass(frozen=True)
class ImageEvent:
    """One reply of an image task; the last one has the full references, or the rejected members of an archive."""

    progress: Progress | None = None
    references: list[str] | None = None
    rejected: list[str] | None = None


@dataclass(frozen=True)
class PrepareEvent:
    """One reply of `Prepare`; the last one has the root file system."""

    progress: Progress | None = None
    rootfs: Rootfs | None = None


@dataclass(frozen=True)
class LogFiles:
    """Paths: `stdio` in docker's json-file format (rotated to `.1`, `.2` …), `boot` as plain text."""

    stdio: str
    boot: str
