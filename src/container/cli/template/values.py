"""What templates work on: records, and how Go would show a value or take it for true."""

from __future__ import annotations

from collections.abc import Callable, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TemplateError(ValueError):
    """A template cannot be read, or cannot be carried out on a value."""


class Missing:
    """What a map has under a key that it does not have."""

    def __bool__(self) -> bool:
        return False


MISSING = Missing()
NO_ARGUMENT = 'an argument is missing, as in .Label "key"'


class Strings(dict[str, str]):
    """A map to strings: what it does not have is empty to `index`."""


class Method:
    """A field that takes arguments, `.Label "key"`."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


class Record:
    """An object with known fields: docker's names, and the names of our own JSON `own` behind them.

    It is shown as, and is to `json`, its fields, or its JSON if `whole`.
    """

    def __init__(self, fields: Mapping[str, Any], own: Mapping[str, Any] | None = None, *, whole: bool = False) -> None:
        self._fields = fields
        self._own = own or {}
        plain = {key: value for key, value in fields.items() if not isinstance(value, Method)}
        self.json: Any = self._own if whole else plain

    def get(self, name: str) -> Any:
        """A field. Raises TemplateError for a name that is none's."""
        if name in self._fields:
            return self._fields[name]
        if name in self._own:
            return self._own[name]
        known = ", ".join(f".{each}" for each in (*self._fields, *self._own))
        raise TemplateError(f"there is no field .{name}; there are {known}")


class Heading(str):
    """Stands for a record while the header of a table is made: each field is its own title."""

    __slots__ = ()

    def get(self, name: str) -> Heading:
        """The title of a field: `CreatedAt` → `CREATED AT`."""
        if name == "ID" or name.isupper():
            return Heading(name)
        words = "".join(f" {letter}" if letter.isupper() else letter for letter in name).split()
        return Heading(" ".join(words).upper())


def field(value: Any, name: str) -> Any:
    """`.name` of a value. Raises TemplateError."""
    if isinstance(value, Record | Heading):
        return value.get(name)
    if isinstance(value, Mapping):
        return value.get(name, MISSING)
    if value is MISSING or value is None:
        return MISSING
    raise TemplateError(f"there is no field .{name} in {show(value)!r}")


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Record):
        return plain(value.json)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if value is MISSING else value


def show(value: Any) -> str:
    """A value as Go prints it: `true`, `[a b]`, `map[k:v]`, `<no value>`."""
    if isinstance(value, str):
        return str(value)
    if value is None or value is MISSING:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Method):
        raise TemplateError(NO_ARGUMENT)
    value = plain(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(show, value)) + "]"
    return str(value)
