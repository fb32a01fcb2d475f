"""The asking side for asyncio programs: one connection a call, typed by the interface's stubs.

    client = Client(roots.socket(paths.IMAGES))
    image = await client.call(Images.Get, reference="busybox")
    async with client.stream(Images.Load, archive=FileDescriptor(fd), force=False) as events:
        async for event in events: …

Descriptors in parameters stay the caller's. Descriptors in a result belong to the caller, who closes them.
Cancelling a call, or leaving a stream, hangs up, and that cancels the handler.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from asyncvarlink import FileDescriptor
from asyncvarlink.conversion import ConversionError

from container.errors import ContainerError, invalid_argument, os_reason
from container.ipc import address, errors
from container.ipc.connection import Connection
from container.ipc.dispatch import encode_message
from container.ipc.framing import Message
from container.ipc.interface import Signature, signature_of
from container.ipc.types import DescriptorType

P = ParamSpec("P")
T = TypeVar("T")
_BACKLOG_FULL_DELAY = 0.02


class Client:
    """Calls the service on one socket. `timeout` in seconds bounds each `call` as a whole, and how long a `stream` may
    take to connect and send its request; None: no bound.

    Both raise what the handler raised, ContainerError(interrupted) when the service does not run or goes away,
    ContainerError(timeout).
    """

    def __init__(self, socket_path: str, timeout: float | None = 60.0) -> None:
        self.socket_path = socket_path
        self.timeout = timeout
        self.service = os.path.basename(socket_path)

    async def call(
        self, method: Callable[Concatenate[Any, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of an interface and return its result."""
        signature = signature_of(method)
        exchange = _Exchange(self, signature)
        try:
            async with asyncio.timeout(self.timeout):
                async with exchange.opened(kwargs):
                    return cast(T, await exchange.result())
        except TimeoutError:
            raise errors.timed_out(self.service, signature.qualified, self.timeout or 0) from None

    def stream(
        self, method: Callable[Concatenate[Any, P], AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractAsyncContextManager[AsyncIterator[T]]:
        """Call a streaming method; the items arrive as the handler yields them, without a deadline."""
        return self._stream(signature_of(method), kwargs)

    @asynccontextmanager
    async def _stream(
        self, signature: Signature, parameters: dict[str, Any]
    ) -> AsyncGenerator[AsyncIterator[Any], None]:
        exchange = _Exchange(self, signature)
        opened = exchange.opened(parameters)
        try:
            async with asyncio.timeout(self.timeout):
                await opened.__aenter__()
        except TimeoutError:
            raise errors.timed_out(self.service, signature.qualified, self.timeout or 0) from None
        try:
            async with aclosing(exchange.items()) as items:
                yield items
        finally:
            await opened.__aexit__(None, None, None)


class _Exchange:
    """One call on its own connection."""

    def __init__(self, client: Client, signature: Signature) -> None:
        self._client = client
        self._signature = signature
        self._connection: Connection

    @asynccontextmanager
    async def opened(self, parameters: dict[str, Any]) -> AsyncGenerator[None, None]:
        """Connect and send the request; hang up at the end."""
        passed: list[FileDescriptor] = []
        data = self._request(parameters, passed)
        self._connection = await self._connect()
        try:
            try:
                await self._connection.send(data, [descriptor.fileno() for descriptor in passed])
            except OSError as error:
                raise self._lost(error.strerror or "") from error
            yield
        finally:
            self._connection.close()

    def _request(self, parameters: dict[str, Any], passed: list[FileDescriptor]) -> bytes:
        signature = self._signature
        try:
            content = signature.parameter_type.tojson(parameters, {DescriptorType: passed})
        except ConversionError as error:
            where = ".".join(map(str, error.location))
            raise invalid_argument(f"{signature.qualified}: parameter {where}: {error.message}") from error
        call: dict[str, Any] = {"method": signature.qualified, "parameters": content}
        if signature.more:
            call["more"] = True
        return encode_message(call)

    async def _connect(self) -> Connection:
        path = self._client.socket_path
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            while True:
                try:
                    address.connect_service(path, sock)
                except BlockingIOError:  # the backlog is full; the kernel has no event for room in it
                    await asyncio.sleep(_BACKLOG_FULL_DELAY)
                else:
                    return Connection(sock, patient=True)
        except OSError as error:
            sock.close()
            raise errors.not_reachable(self._client.service, path, os_reason(error)) from error
        except BaseException:
            sock.close()
            raise

    async def result(self) -> Any:
        """The single reply's value."""
        _, value = await self._reply()
        return value

    async def items(self) -> AsyncGenerator[Any, None]:
        """The values of the replies, until the one that does not continue."""
        continues = True
        while continues:
            continues, value = await self._reply()
            if value is not None:
                yield value

    async def _reply(self) -> tuple[bool, Any]:
        message = await self._connection.receive()
        if message is None:
            failure = self._connection.failure
            raise self._bad(failure.message) if failure else self._lost()
        try:
            return self._decode(message)
        finally:
            message.close()

    def _decode(self, message: Message) -> tuple[bool, Any]:
        try:
            reply = json.loads(message.data)
            name, continues = reply.get("error"), bool(reply.get("continues"))
            parameters = reply.get("parameters") or {}
        except (ValueError, AttributeError, RecursionError) as error:
            raise self._bad(str(error)) from error
        if name is not None:
            raise errors.from_wire(str(name), parameters if isinstance(parameters, dict) else {})
        return continues, self._value(message, parameters)

    def _value(self, message: Message, parameters: Any) -> Any:
        descriptors = [FileDescriptor(fd) for fd in message.fds]
        try:
            values = self._signature.return_type.fromjson(parameters, {DescriptorType: descriptors})
        except ConversionError as error:
            raise self._bad(f"{'.'.join(map(str, error.location))}: {error.message}") from error
        except ContainerError as error:
            raise self._bad(error.message) from error
        self._hand_over(message, values)
        return None if self._signature.result is None else values.get(self._signature.result)

    def _hand_over(self, message: Message, values: Any) -> None:
        """Make the descriptors in a result the caller's; the others are closed with the message."""
        for descriptor in _descriptors_in(values):
            fd = descriptor.fileno()
            if fd in message.fds:
                message.fds.remove(fd)
                descriptor.should_close = True

    def _lost(self, reason: str = "") -> ContainerError:
        return errors.hung_up(self._client.service, self._signature.qualified, reason)

    def _bad(self, why: str) -> ContainerError:
        return errors.bad_reply(self._client.service, self._signature.qualified, why)


def _descriptors_in(value: Any) -> list[FileDescriptor]:
    if isinstance(value, FileDescriptor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for item in items for found in _descriptors_in(item)]
