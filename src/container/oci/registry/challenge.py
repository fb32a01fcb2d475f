"""What a registry asks for with `401`: WWW-Authenticate headers (RFC 7235, RFC 6750)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_PIECE = re.compile(
    r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,"]*)))?',
)


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate; scheme and parameter names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a bearer token must have."""
        return tuple(self.parameters.get("scope", "").split())


def parse(headers: Sequence[str]) -> list[Challenge]:
    """The challenges of a response in order; what makes no sense is left out."""
    found: list[Challenge] = []
    for header in headers:
        for match in _PIECE.finditer(header[:8192]):
            name, quoted, plain = match.groups()
            if quoted is None and plain is None:
                found.append(Challenge(name.lower()))
            elif found:
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
                found[-1].parameters.setdefault(name.lower(), value)
    return found
