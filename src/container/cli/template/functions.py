"""The functions of templates: Go's own, and those that docker adds."""

from __future__ import annotations

import json
import re

from container.cli.template.values import MISSING, Record, Strings, TemplateError, plain, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_VERB = re.compile(r"%([-+ #0]*)(\d*)(?:\.(\d+))?(.)", re.DOTALL)


def _json(value: Any) -> str:
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.json if isinstance(value, Record) else value
        if isinstance(value, dict):
            value = value.get(key, "" if isinstance(value, Strings) else MISSING)
        elif isinstance(value, list | str) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        elif value is not MISSING and value is not None:
            raise TemplateError(f"there is no index {show(key)} in {show(value)!r}")
    return value


def _slice(value: Any, first: int = 0, last: int | None = None) -> Any:
    return value[first : len(value) if last is None else last]


def _len(value: Any) -> int:
    if value is MISSING or value is None:
        return 0
    return len(value.json if isinstance(value, Record) else value)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        if isinstance(left, str) != isinstance(right, str):
            raise TemplateError(f"cannot compare {show(left)!r} and {show(right)!r}")
        return test(left, right)

    return compare


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


def _print(*values: Any) -> str:
    """Go's: blanks between operands when neither is a string."""
    text = ""
    for index, value in enumerate(values):
        between = index and not isinstance(value, str) and not isinstance(values[index - 1], str)
        text += (" " if between else "") + show(value)
    return text


def _println(*values: Any) -> str:
    return " ".join(map(show, values)) + "\n"


def _printf(pattern: str, *values: Any) -> str:
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not rest:
            raise TemplateError(f"printf has no value for {match[0]}")
        value = rest.pop(0)
        head = f"%{flags}{width}" + (f".{precision}" if precision else "")
        if verb in "sv" or (verb == "t" and isinstance(value, bool)):
            return f"{head}s" % show(value)
        if verb == "q":
            return f"{head}s" % json.dumps(show(value), ensure_ascii=False)
        if verb in "xX" and isinstance(value, str):
            return f"{head}s" % value.encode().hex()
        if verb in "dxXoeEfFgGc" and isinstance(value, int | float) and not isinstance(value, bool):
            return f"{head}{verb}" % value
        raise TemplateError(f"printf cannot show {show(value)!r} as {match[0]}")

    return _VERB.sub(one, pattern)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "eq": lambda left, *others: any(left == other for other in others),
    "ge": _compare(lambda left, right: left >= right),
    "gt": _compare(lambda left, right: left > right),
    "index": _index,
    "join": lambda values, separator="": separator.join(map(show, values or ())),
    "json": _json,
    "le": _compare(lambda left, right: left <= right),
    "len": _len,
    "lower": lambda text: text.lower(),
    "lt": _compare(lambda left, right: left < right),
    "ne": lambda left, right: left != right,
    "not": lambda value: not value,
    "or": _or,
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": lambda text, separator: text.split(separator),
    "title": lambda text: text[:1].upper() + text[1:],
    "truncate": lambda text, length: text[:length],
    "upper": lambda text: text.upper(),
}
PRINTING = (_print, _printf, _println)  # that go on with the title of a column
