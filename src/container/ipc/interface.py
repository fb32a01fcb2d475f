"""How an interface is written down: a class of typed stubs in `api/`, overridden by the handler that serves it.

    class Images(Interface, name="io.container.Images"):
        @method("image")
        async def Get(self, *, reference: str) -> Image: "one image"
        @stream("event")
        def Load(self, *, archive: FileDescriptor) -> AsyncIterator[ImageEvent]: "progress, then the result"

A handler derives from it and overrides with the same parameters (`async def` for methods, an async generator for
streams), without decorators. Each item of a stream is sent at once with `continues`; the last reply has none.
"""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from asyncvarlink import VarlinkInterface, VarlinkMethodSignature
from asyncvarlink.conversion import ObjectVarlinkType

from container.ipc.types import object_type, varlink_type

_F = TypeVar("_F", bound=Callable[..., Any])
_SIGNATURE = "_varlink_signature"  # where asyncvarlink looks for it


@dataclass
class Signature(VarlinkMethodSignature):
    """What a decorated method takes and gives; `result` is the key of the value, None without one."""

    result: str | None
    qualified: str = ""  # the varlink name, `io.container.Images.Get`


def method(result: str | None = None) -> Callable[[_F], _F]:
    """Mark an async method of an interface; its value goes under the key `result`, None needs no key."""
    return _marker(result, more=False)


def stream(result: str) -> Callable[[_F], _F]:
    """Mark a streaming method, whose annotation is `AsyncIterator[item]`; each item goes under the key `result`."""
    return _marker(result, more=True)


def _marker(result: str | None, *, more: bool) -> Callable[[_F], _F]:
    def mark(function: _F) -> _F:
        hints = typing.get_type_hints(function)
        returned = hints.pop("return")
        defaults = {
            name for name, item in inspect.signature(function).parameters.items() if item.default is not item.empty
        }
        if result is None:
            return_type = ObjectVarlinkType({})
        elif more:
            (item,) = typing.get_args(returned)
            inner = varlink_type(item).optional()
            return_type = ObjectVarlinkType({result: inner})
        else:
            return_type = object_type({result: returned})
        signature = Signature(True, more, object_type(hints, defaults), return_type, result)
        setattr(function, _SIGNATURE, signature)
        return function

    return mark


def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of an interface's method. Raises TypeError for anything else."""
    found = getattr(function, _SIGNATURE, None)
    if not isinstance(found, Signature) or not found.qualified:
        raise TypeError(f"{function!r} is not a method of a varlink interface")
    return found


class Interface(VarlinkInterface, name="io.container.Interface"):
    """Base of every interface in `api/`, and through them of the handlers."""

    def __init_subclass__(cls, *, name: str | None = None) -> None:
        if name is not None:
            cls.name = name
        super().__init_subclass__()
        for key, value in list(vars(cls).items()):
            signature = getattr(value, _SIGNATURE, None)
            if isinstance(signature, Signature):
                signature.qualified = f"{cls.name}.{key}"
            elif inspect.isfunction(value):
                _inherit(cls, key, value)


def _inherit(cls: type[Interface], key: str, function: Callable[..., Any]) -> None:
    """Give an overriding method the signature of the stub that it overrides."""
    stub = next((vars(base)[key] for base in cls.__mro__[1:] if key in vars(base)), None)
    signature = getattr(stub, _SIGNATURE, None)
    if signature is None:
        return
    if inspect.iscoroutinefunction(function) == signature.more:
        wanted = "an async generator" if signature.more else "a coroutine function"
        raise TypeError(f"{cls.__qualname__}.{key} must be {wanted}")
    function.__doc__ = function.__doc__ or stub.__doc__
    setattr(function, _SIGNATURE, signature)
