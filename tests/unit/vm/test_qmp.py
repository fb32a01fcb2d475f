"""The monitor of a QEMU that takes its time."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest

from container.errors import ContainerError, ErrorCode
from container.vm.qmp import Monitor

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}


class Far:
    """QEMU's end of a monitor: it greets when `ready` is set, and answers every command."""

    def __init__(self, sock: socket.socket) -> None:
        self.ready = asyncio.Event()
        self.commands: list[str] = []
        self._sock = sock

    async def serve(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._sock)
        try:
            await self.ready.wait()
            writer.write(json.dumps(GREETING).encode() + b"\n")
            while data := await reader.read(4096):  # one command at a time, without a newline
                command = json.loads(data)
                self.commands.append(command["execute"])
                answer = {"return": {"status": "running"}} | {key: command[key] for key in ("id",) if key in command}
                writer.write(json.dumps(answer).encode() + b"\n")
        finally:
            writer.close()


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Monitor, Far]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    monitor, qemu = Monitor(near, "box"), Far(far)
    serving = asyncio.create_task(qemu.serve())
    yield monitor, qemu
    await monitor.close()
    async with asyncio.timeout(10):
        qemu.ready.set()
        await asyncio.gather(serving, return_exceptions=True)
    assert near.fileno() == -1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_connection_is_made_whatever_becomes_of_who_asked_first(ends: tuple[Monitor, Far]) -> None:
    monitor, qemu = ends
    first = asyncio.create_task(monitor.execute("query-status"))
    await asyncio.sleep(0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(ContainerError, match=r"no answer within 0\.05 s") as caught:
        await monitor.execute("query-status", timeout=0.05)
    assert caught.value.code is ErrorCode.TIMEOUT
    qemu.ready.set()
    assert await monitor.execute("query-status") == {"status": "running"}
    assert qemu.commands[-1] == "query-status"


async def test_a_monitor_that_is_closed_while_it_connects_tells_who_waits(ends: tuple[Monitor, Far]) -> None:
    monitor, _ = ends
    waiting = asyncio.create_task(monitor.execute("query-status"))
    await asyncio.sleep(0.05)
    await monitor.close()
    for command in (waiting, monitor.execute("quit")):
        with pytest.raises(ContainerError, match="the connection to QEMU is broken: closed") as caught:
            await command
        assert caught.value.code is ErrorCode.INTERRUPTED


async def test_a_monitor_that_nobody_used_is_closed(ends: tuple[Monitor, Far]) -> None:
    await ends[0].close()


async def test_a_monitor_is_closed_before_its_connection_has_begun(ends: tuple[Monitor, Far]) -> None:
    waiting = asyncio.create_task(ends[0].execute("query-status"))
    await asyncio.sleep(0)
    await ends[0].close()
    with pytest.raises(ContainerError, match="closed"):
        await waiting
