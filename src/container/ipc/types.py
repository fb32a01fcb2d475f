"""Python annotations to varlink types: what asyncvarlink knows, and model dataclasses in their contract JSON."""

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from asyncvarlink import FileDescriptor
from asyncvarlink.conversion import (
    ConversionError,
    DictVarlinkType,
    FileDescriptorVarlinkType,
    ForeignVarlinkType,
    ListVarlinkType,
    ObjectVarlinkType,
    OOBTypeState,
    VarlinkType,
)
from asyncvarlink.types import JSONValue

from container.model import codec

_FIELD_NAME = re.compile(r"^[A-Za-z](_?[A-Za-z0-9])*$")


class DescriptorType(FileDescriptorVarlinkType):
    """A file descriptor: on the wire its index among those that go with the message.

    The out-of-band state is a `list[FileDescriptor]`. The same descriptor may go into several places.
    """

    def tojson(self, obj: Any, oobstate: OOBTypeState = None) -> int:
        """Index of the descriptor, appended to the out-of-band list unless it is there."""
        if not isinstance(obj, FileDescriptor) or not obj:
            raise ConversionError.expected("an open FileDescriptor", obj)
        passed: list[FileDescriptor] = self._get_oob(oobstate)
        for index, other in enumerate(passed):
            if other == obj:
                return index
        passed.append(obj)
        return len(passed) - 1

    def fromjson(self, obj: JSONValue, oobstate: OOBTypeState = None) -> FileDescriptor:
        """The descriptor at an index of the out-of-band list."""
        passed: list[FileDescriptor] = self._get_oob(oobstate)
        if not isinstance(obj, int) or isinstance(obj, bool) or not 0 <= obj < len(passed):
            raise ConversionError(f"{obj!r} is not the index of one of the {len(passed)} passed file descriptors")
        return passed[obj]


class ModelType(VarlinkType):
    """A model dataclass: on the wire what `model.codec` makes of it."""

    def __init__(self, model: type) -> None:
        self.as_type = model
        self.as_varlink = model.__name__
        self.typedefs = _typedefs(model)

    def tojson(self, obj: Any, oobstate: OOBTypeState = None) -> JSONValue:
        """Contract JSON of a model value."""
        if not isinstance(obj, self.as_type):
            raise ConversionError.expected(self.as_varlink, obj)
        return typing.cast(JSONValue, codec.encode(obj))

    def fromjson(self, obj: JSONValue, oobstate: OOBTypeState = None) -> Any:
        """Model value of contract JSON. Raises ContainerError(invalid-argument)."""
        return codec.decode(self.as_type, obj)


class EnumType(VarlinkType):
    """An enum by its values, as the contract's JSON has it."""

    def __init__(self, enumeration: type[enum.Enum]) -> None:
        self.as_type = enumeration
        self.as_varlink = _describe(enumeration, {}, set())

    def tojson(self, obj: Any, oobstate: OOBTypeState = None) -> JSONValue:
        """The member's value."""
        return typing.cast(JSONValue, codec.encode(obj))

    def fromjson(self, obj: JSONValue, oobstate: OOBTypeState = None) -> Any:
        """The member with that value. Raises ContainerError(invalid-argument)."""
        return codec.decode(self.as_type, obj)


def varlink_type(annotation: Any) -> VarlinkType:
    """The varlink type of an annotation. Raises TypeError for one that has no place in an interface."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return ForeignVarlinkType()
    if origin in (typing.Union, types.UnionType):
        inner = [arg for arg in args if arg is not type(None)]
        if len(inner) == 1 and len(args) == 2:
            return varlink_type(inner[0]).optional()
    elif origin is list:
        return ListVarlinkType(varlink_type(args[0]))
    elif origin is dict and args[0] is str:
        return DictVarlinkType(varlink_type(args[1]))
    elif typing.is_typeddict(annotation):
        return object_type(typing.get_type_hints(annotation), annotation.__optional_keys__)
    elif isinstance(annotation, type):
        if issubclass(annotation, FileDescriptor):
            return DescriptorType()
        if issubclass(annotation, enum.Enum):
            return EnumType(annotation)
        if dataclasses.is_dataclass(annotation):
            return ModelType(annotation)
    result = VarlinkType.from_type_annotation(annotation)
    if isinstance(result, ForeignVarlinkType):
        raise TypeError(f"{annotation!r} has no varlink type")
    return result


def object_type(hints: dict[str, Any], optional: typing.Collection[str] = ()) -> ObjectVarlinkType:
    """A struct; a field of an optional type may be missing on the wire: it is then None, or absent if in `optional`."""
    fields = {name: varlink_type(hint) for name, hint in hints.items()}
    for name in optional:
        fields[name] = fields[name].optional()
    none = {name for name, hint in hints.items() if type(None) in typing.get_args(hint) and name not in optional}
    return ObjectVarlinkType(fields, populatenone=none, discardnone=set(optional))


def _typedefs(model: type) -> dict[str, str]:
    definitions: dict[str, str] = {}
    _describe(model, definitions, set())
    return definitions


def _describe(annotation: Any, definitions: dict[str, str], seen: set[str]) -> str:
    """Varlink spelling of a type inside a model; dataclasses on the way are added to `definitions`."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return "?" + _describe(next(arg for arg in args if arg is not type(None)), definitions, seen)
    if origin in (list, tuple):
        return "[]" + _describe(args[0], definitions, seen)
    if origin is dict:
        return "[string]" + _describe(args[1], definitions, seen)
    if not isinstance(annotation, type) or hasattr(annotation, "from_json"):
        return "object"
    if issubclass(annotation, enum.Enum):
        values = [str(member.value) for member in annotation]
        return f"({', '.join(values)})" if all(map(_FIELD_NAME.match, values)) else "string"
    if dataclasses.is_dataclass(annotation):
        if annotation.__name__ not in seen:
            seen.add(annotation.__name__)
            fields = ", ".join(_describe_fields(annotation, definitions, seen))
            definitions[annotation.__name__] = f"({fields})"
        return annotation.__name__
    return {bool: "bool", int: "int", float: "float", str: "string"}.get(annotation, "object")


def _describe_fields(model: type, definitions: dict[str, str], seen: set[str]) -> Iterator[str]:
    hints = typing.get_type_hints(model)
    for item in dataclasses.fields(model):
        text = _describe(hints[item.name], definitions, seen)
        has_default = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
        optional = "?" if has_default and not text.startswith("?") else ""
        yield f"{codec.key_of(item)}: {optional}{text}"
