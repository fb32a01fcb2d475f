"""Labels (contract 1.7)."""

from __future__ import annotations

from container.errors import invalid_argument


def parse_labels(words: list[str]) -> dict[str, str]:
    """`k=v` or `k`; at most one `=`."""
    found: dict[str, str] = {}
    for word in words:
        if not word:
            raise invalid_argument("label cannot be an empty string; expected key=value or key")
        key, *values = word.split("=")
        if len(values) > 1:
            raise invalid_argument(f"invalid label format {word}; expected key=value or key")
        found[key] = values[0] if values else ""
    return found


def parse_pairs(words: list[str]) -> dict[str, str]:
    """Labels and options of networks and volumes: split at the first `=` only; without one the value is empty."""
    return {key: value for key, _, value in (word.partition("=") for word in words)}
