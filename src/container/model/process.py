"""Processes in a container: what to run, as whom, with which standard streams."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class User:
    """Either numeric ids or a string that is resolved in the container's own passwd and group files."""

    uid: int | None = None
    gid: int | None = None
    raw: str | None = None  # `name|uid[:group|gid]`

    def to_json(self) -> dict[str, Any]:
        """`{"id": {"uid", "gid"}}` or `{"raw": {"userString"}}` (contract 3.1)."""
        if self.raw is not None:
            return {"raw": {"userString": self.raw}}
        return {"id": {"uid": self.uid or 0, "gid": self.gid or 0}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "User":
        """Inverse of `to_json`."""
        if "raw" in data:
            return cls(raw=str(data["raw"]["userString"]))
        return cls(uid=int(data["id"]["uid"]), gid=int(data["id"]["gid"]))


@dataclass(frozen=True)
class Rlimit:
    """`limit` is an `RLIMIT_*` name; 2**64 - 1 is unlimited."""

    limit: str
    soft: int
    hard: int


@dataclass(frozen=True)
class ProcessConfiguration:
    """A process, complete: nothing is looked up later but user names (contract 3.1, initProcess)."""

    executable: str
    arguments: list[str]
    environment: list[str]  # K=V
    working_directory: str
    terminal: bool
    user: User
    supplemental_groups: list[int] = field(default_factory=list)
    rlimits: list[Rlimit] = field(default_factory=list)


@dataclass(frozen=True)
class ProcessRequest:
    """Process options as the user gave them; None = not given, so the image's or the container's value holds."""

    arguments: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)  # K=V, the last of a key wins
    entrypoint: str | None = None
    working_directory: str | None = None
    terminal: bool = False
    interactive: bool = False
    user: str | None = None
    uid: int | None = None
    gid: int | None = None
    rlimits: list[Rlimit] = field(default_factory=list)


@dataclass(frozen=True)
class WindowSize:
    """A terminal's size in characters."""

    columns: int
    rows: int
