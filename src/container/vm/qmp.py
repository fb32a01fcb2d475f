"""QEMU's monitor (QMP, docs/interop/qmp-spec.rst of QEMU) over a socket that is already connected."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from container.errors import ContainerError, ErrorCode, internal

if TYPE_CHECKING:
    from qemu.qmp import EventListener, Message, QMPClient

_log = logging.getLogger(__name__)


class Monitor:
    """One QMP connection; owns `sock`. It greets QEMU at the first command, for a boot needs no monitor."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._sock: socket.socket | None = sock
        self._name = name
        self._connection: asyncio.Task[QMPClient] | None = None

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, timeout: float = 10.0
    ) -> object:
        """Run one command and return its `return` value; `timeout` in seconds.

        Raises ContainerError: internal with QEMU's own text, timeout, interrupted when QEMU is gone.
        """
        from qemu.qmp import ExecuteError, QMPError

        doing = f"QMP command {command} for {self._name}"
        try:
            async with asyncio.timeout(timeout):
                client = await self._connected()
                return await client.execute(command, dict(arguments) if arguments else None)
        except TimeoutError as error:
            raise ContainerError(ErrorCode.TIMEOUT, f"{doing}: no answer within {timeout:g} s") from error
        except ExecuteError as error:
            raise internal(f"{doing} failed: {error}") from error
        except (QMPError, OSError, EOFError) as error:
            message = f"{doing} failed: the connection to QEMU is broken: {error}"
            raise ContainerError(ErrorCode.INTERRUPTED, message) from error

    @contextlib.asynccontextmanager
    async def events(self, *names: str) -> "AsyncIterator[AsyncIterator[Message]]":
        """The events of these names from now on. Raises as `execute`."""
        await self.execute("query-status")  # connects
        client = await self._connected()
        with client.listener(names) as listener:
            yield aiter(listener)

    async def send(self, fd: int, name: str) -> None:
        """Give QEMU a copy of a descriptor, which commands may call `name`. Raises as `execute`."""
        await self.execute("query-status")
        client = await self._connected()
        client.send_fd_scm(fd)
        await self.execute("getfd", {"fdname": name})

    async def keep_going(self, pause: float) -> None:
        """Let the machine go on whenever QEMU halts it because the host's disk is full, after `pause` seconds.

        What it writes waits meanwhile, and is not lost. Returns when QEMU is gone.
        """
        with contextlib.suppress(ContainerError):
            await self.execute("query-status")
            client = await self._connected()
            with client.listener("STOP") as stops:
                await self._keep_going(pause, stops)

    async def _keep_going(self, pause: float, stops: "EventListener") -> None:
        told = False
        while True:
            status = await self.execute("query-status")
            if isinstance(status, dict) and status.get("status") == "io-error":
                if not told:
                    _log.warning("%s cannot write: the host's disk is full; it waits for room", self._name)
                told = True
                await asyncio.sleep(pause)
                await self.execute("cont")
            try:
                async with asyncio.timeout(2 * pause if told else None):
                    await stops.get()
            except TimeoutError:
                _log.info("%s goes on", self._name)
                told = False

    async def close(self) -> None:
        """Hang up; QEMU does not mind."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.cancel()
                await asyncio.wait([connection])
                if not connection.cancelled() and connection.exception() is None:
                    await _disconnect(connection.result())
        finally:
            if self._sock is not None:
                self._sock.close()
                self._sock = None

    async def _connected(self) -> "QMPClient":
        """The client. Whoever asks first may give up: there is one socket, and others need it after him."""
        if self._connection is None:
            self._connection = asyncio.create_task(self._connect())
        connection = self._connection
        if not connection.done():
            await asyncio.wait([connection])
        if connection.cancelled():
            raise EOFError("closed")
        return connection.result()

    async def _connect(self) -> "QMPClient":
        from qemu.qmp import QMPClient

        if self._sock is None:
            raise EOFError("closed")
        sock, self._sock = self._sock, None  # from here on the client's transport closes it
        client = QMPClient(self._name)
        client.logger.disabled = True  # what goes wrong is raised
        try:
            await client.connect(sock)
        except BaseException:
            sock.close()
            raise
        return client


async def _disconnect(client: "QMPClient") -> None:
    """End the client's tasks. It raises what the connection died of, which is nobody's concern any more."""
    from qemu.qmp import QMPError

    with contextlib.suppress(QMPError, OSError, EOFError):
        await client.disconnect()
