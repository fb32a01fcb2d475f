"""`io.container.Error` as introspection shows it: one varlink error per code, each with `message` and `cause`."""

import types
from typing import Any

from asyncvarlink import TypedVarlinkErrorReply, VarlinkInterface

from container.errors import ErrorCode
from container.ipc.errors import INTERFACE, wire_name


def _error_class(code: ErrorCode) -> type[TypedVarlinkErrorReply]:
    parameters = type("Parameters", (), {"__annotations__": {"message": str, "cause": Any}})
    short = wire_name(code).rpartition(".")[2]
    body = {"Parameters": parameters, "name": wire_name(code), "__doc__": code.value, "__annotations__": {}}
    return types.new_class(short, (TypedVarlinkErrorReply,), {}, lambda namespace: namespace.update(body))


class ErrorInterface(VarlinkInterface, name=INTERFACE):
    """The errors of every service of this system; `cause` is `{code, message, cause}` or missing."""

    errors = tuple(_error_class(code) for code in ErrorCode)
