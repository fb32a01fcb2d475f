"""Frozen dataclasses to the JSON of `docs/reference/json.md` and back: one shape for disk, wire and standard output.

A field `memory_in_bytes` is the key `memoryInBytes`; a field that is None is left out if that is its default, and so is
a key of a mapping (an image's own configuration may have nulls). A field may carry `metadata={"json": "ipv4Address"}`
where the rule does not give the contract's spelling.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

from container.errors import ContainerError, ErrorCode

T = typing.TypeVar("T")


def key_of(field: "dataclasses.Field[Any]") -> str:
    """The JSON key of a dataclass field."""
    explicit = field.metadata.get("json")
    if explicit is not None:
        return str(explicit)
    head, *tail = field.name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def encode(value: Any) -> Any:
    """JSON-ready form of a model value (dataclass, enum, list, dict or scalar)."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {key_of(field): encode(item) for field, item in pairs if item is not None or field.default is not None}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items() if item is not None}
    return value


def decode(cls: type[T], data: Any, where: str = "") -> T:
    """Model value of type `cls` from its JSON; unknown keys are ignored.

    Raises ContainerError(invalid-argument) that names the offending key.
    """
    return typing.cast(T, _decode(cls, data, where or getattr(cls, "__name__", str(cls))))


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if data is None:
            return None
        return _decode(next(arg for arg in args if arg is not type(None)), data, where)
    if origin is list or origin is tuple:
        items = _expect(list, data, where)
        return origin(_decode(args[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if origin is dict:
        return {key: _decode(args[1], item, f"{where}.{key}") for key, item in _expect(dict, data, where).items()}
    if isinstance(kind, type) and hasattr(kind, "from_json"):
        try:
            return kind.from_json(data)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"{where} is malformed: {error}") from error
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, _expect(dict, data, where), where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"{where}: unknown value '{data}'") from None
    return data if kind is Any else _expect(kind, data, where)


def _decode_dataclass(kind: Any, data: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        key = key_of(field)
        if key in data:
            values[field.name] = _decode(hints[field.name], data[key], f"{where}.{key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ContainerError(ErrorCode.INVALID_ARGUMENT, f"{where}: the key '{key}' is missing")
    return kind(**values)


def _expect(kind: Any, data: Any, where: str) -> Any:
    wanted = (int, float) if kind is float else kind
    if not isinstance(data, wanted) or (kind is int and isinstance(data, bool)):
        raise ContainerError(
            ErrorCode.INVALID_ARGUMENT, f"{where}: expected {kind.__name__}, found {type(data).__name__}"
        )
    return data
