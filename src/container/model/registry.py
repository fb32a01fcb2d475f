"""Registries that this user is logged in to (contract 3.5)."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Registry:
    """One login; `id` = `name` = the host. Dates are `1970-01-01T00:00:00Z` for what another program wrote."""

    id: str
    name: str
    username: str
    creation_date: str
    modification_date: str
    labels: dict[str, str] = field(default_factory=dict)
