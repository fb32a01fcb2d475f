"""From a message to a handler and back: routing, conversion, errors. Knows no sockets."""

import inspect
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from asyncvarlink import AnnotatedResult, FileDescriptor, VarlinkErrorReply, VarlinkInterfaceRegistry, VarlinkMethodCall
from asyncvarlink.conversion import ConversionError
from asyncvarlink.interface import VarlinkMethodSignature
from asyncvarlink.serviceerrors import MethodNotFound

from container.errors import ContainerError, ErrorCode, invalid_argument, unexpected
from container.ipc import errors
from container.ipc.framing import MESSAGE_MAX, Message
from container.ipc.interface import Signature
from container.ipc.types import DescriptorType

_log = logging.getLogger(__name__)

Reply = tuple[bytes, list[FileDescriptor]]
Send = Callable[[Reply], Awaitable[None]]

encode_json = json.JSONEncoder(separators=(",", ":")).encode


class PeerGoneError(Exception):
    """Sending an answer failed: nobody is there to be told."""


def _parse(message: Message) -> dict[str, Any]:
    try:
        content = json.loads(message.data)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"cannot answer a request: it is not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("method"), str):
        raise invalid_argument("cannot answer a request: it is no varlink call")
    return content


async def dispatch(
    registry: VarlinkInterfaceRegistry, message: Message, descriptors: list[FileDescriptor], send: Send
) -> None:
    """Run the call in a message and send its replies: every call is answered, but for one-way ones.

    `descriptors` came with the call and stay the caller's. Cancelling cancels the handler.
    Raises ContainerError(invalid-argument) for a message that is no call: close the connection then.
    Raises PeerGoneError when `send` raises OSError.
    """
    content = _parse(message)

    async def reply(answer: dict[str, Any], passed: list[FileDescriptor] | None = None) -> None:
        if content.get("oneway") is not True:
            data = encode_message(answer)
            try:
                await send((data, passed or []))
            except OSError as error:
                raise PeerGoneError from error

    try:
        await _run(registry, content, descriptors, reply)
    except PeerGoneError:
        raise
    except VarlinkErrorReply as error:
        await reply(dict(error.tojson()))
    except Exception as error:
        name, parameters = errors.to_wire(_translate(str(content["method"]), error))
        await reply({"error": name, "parameters": parameters})


_Answer = Callable[[dict[str, Any], list[FileDescriptor]], Awaitable[None]]


async def _run(
    registry: VarlinkInterfaceRegistry, content: dict[str, Any], descriptors: list[FileDescriptor], reply: _Answer
) -> None:
    try:
        call = VarlinkMethodCall.fromjson(content)
    except (ValueError, TypeError) as error:
        raise invalid_argument(f"cannot answer {content['method']}: it is not a valid call: {error}") from error
    function, signature = registry.lookup_method(call)
    if call.upgrade:
        raise MethodNotFound(method=call.method)
    try:
        parameters = signature.parameter_type.fromjson(call.parameters, {DescriptorType: descriptors})
    except ConversionError as error:
        raise invalid_argument(_conversion_text(call.method, "parameter", error)) from error
    if signature.more:
        async with aclosing(_generator(function(**parameters))) as items:
            async for item in items:
                await _send_result(call, signature, item, reply, continues=True)
        await reply({}, [])
        return
    result = function(**parameters)
    if inspect.isawaitable(result):
        result = await result
    await _send_result(call, signature, result, reply)


async def _generator(items: Any) -> AsyncGenerator[Any, None]:
    """A handler's async iterator as a generator, so that leaving it early runs its `finally` blocks now."""
    try:
        async for item in items:
            yield item
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()


async def _send_result(
    call: VarlinkMethodCall, signature: VarlinkMethodSignature, value: Any, reply: _Answer, *, continues: bool = False
) -> None:
    passed: list[FileDescriptor] = []
    try:
        try:
            content = signature.return_type.tojson(_wrap(signature, value), {DescriptorType: passed})
        except ConversionError as error:
            text = _conversion_text(call.method, "result", error)
            raise ContainerError(ErrorCode.INTERNAL, text) from error
        message: dict[str, Any] = {"parameters": content}
        if continues:
            message["continues"] = True
        await reply(message, passed)
    finally:
        for descriptor in passed:
            descriptor.release()


def _wrap(signature: VarlinkMethodSignature, value: Any) -> Any:
    """The parameters of a reply for what the handler returned."""
    if isinstance(value, AnnotatedResult):
        return value.parameters
    result = signature.result if isinstance(signature, Signature) else None
    return {} if result is None else {result: value}


def _conversion_text(method: str, what: str, error: ConversionError) -> str:
    where = ".".join(map(str, error.location))
    return f"{method}: {what} {where}: {error.message}" if where else f"{method}: {error.message}"


def _translate(method: str, error: Exception) -> ContainerError:
    """The error to answer with: the handler's own, also out of a task group; anything else is a fault of ours."""
    leaf: Exception = error
    while isinstance(leaf, ExceptionGroup):
        expected = leaf.subgroup(ContainerError)
        leaf = (expected or leaf).exceptions[0]
    if isinstance(leaf, ContainerError):
        return leaf
    _log.error("%s failed unexpectedly", method, exc_info=error)
    return unexpected(f"the request {method.removeprefix('io.container.')}")


def encode_message(content: dict[str, Any]) -> bytes:
    """A message with its NUL. Raises ContainerError(internal) when it is over the limit."""
    data = encode_json(content).encode() + b"\0"
    if len(data) > MESSAGE_MAX:
        raise ContainerError(
            ErrorCode.INTERNAL,
            f"cannot send a message of {len(data)} bytes: it is over the limit of {MESSAGE_MAX} bytes",
        )
    return data
