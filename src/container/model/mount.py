"""Mounts of a container (contract 3.1, mounts)."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mount:
    """`kind`: `tmpfs`, `virtiofs` (bind), `volume` or `block`; `detail` holds that kind's own keys."""

    kind: str
    source: str
    destination: str
    options: list[str] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`type` is a one-key object: `{"tmpfs": {}}`."""
        return {
            "type": {self.kind: self.detail},
            "source": self.source,
            "destination": self.destination,
            "options": self.options,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Mount":
        """Inverse of `to_json`."""
        ((kind, detail),) = data["type"].items()
        return cls(kind, data["source"], data["destination"], list(data["options"]), dict(detail))
