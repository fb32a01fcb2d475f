"""What a removal of all that is unused came to."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pruned:
    """Names of what went, why others did not, by name, and the bytes that are free again."""

    deleted: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    reclaimed: int = 0
