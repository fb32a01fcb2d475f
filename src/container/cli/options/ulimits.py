"""`--ulimit type=soft[:hard]` (contract 1.9)."""

from __future__ import annotations

from container.errors import invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TYPES = {
    each.removeprefix("RLIMIT_").lower(): each
    for each in (
        "RLIMIT_CORE",
        "RLIMIT_CPU",
        "RLIMIT_DATA",
        "RLIMIT_FSIZE",
        "RLIMIT_LOCKS",
        "RLIMIT_MEMLOCK",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE",
        "RLIMIT_NOFILE",
        "RLIMIT_NPROC",
        "RLIMIT_RSS",
        "RLIMIT_RTPRIO",
        "RLIMIT_RTTIME",
        "RLIMIT_SIGPENDING",
        "RLIMIT_STACK",
    )
}
UNLIMITED = 2**64 - 1


def parse_ulimits(words: list[str]) -> list[dict[str, Any]]:
    """Rlimits in JSON shape: `{limit: "RLIMIT_NOFILE", soft, hard}`."""
    limits: list[dict[str, Any]] = []
    seen = set()
    for word in words:
        kind, equals, values = word.partition("=")
        kind = kind.lower()
        parts = values.split(":")
        if not kind or not equals or len(parts) > 2 or not all(parts):
            raise invalid_argument(f"invalid ulimit format '{word}': expected <type>=<soft>[:<hard>]")
        if kind not in TYPES:
            raise invalid_argument(f"unsupported ulimit type '{kind}': valid types are {', '.join(TYPES)}")
        if kind in seen:
            raise invalid_argument(f"duplicate ulimit type: {kind}")
        seen.add(kind)
        soft, hard = _value(parts[0], kind), _value(parts[-1], kind)
        if soft > hard:
            raise invalid_argument(f"ulimit '{kind}' soft limit ({soft}) cannot exceed hard limit ({hard})")
        limits.append({"limit": TYPES[kind], "soft": soft, "hard": hard})
    return limits


def _value(text: str, kind: str) -> int:
    if text.lower() in ("unlimited", "-1"):
        return UNLIMITED
    if text.isascii() and text.isdigit() and int(text) <= UNLIMITED:
        return int(text)
    raise invalid_argument(f"invalid ulimit value '{text}' for '{kind}': must be a non-negative integer or 'unlimited'")
