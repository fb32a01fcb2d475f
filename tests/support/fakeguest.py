"""A machine and a guest that live in the test's event loop, to test what is around them."""

import asyncio
import os
from contextlib import asynccontextmanager

import container.guest.client
import container.guest.streams
from container.errors import ContainerError, ErrorCode
from container.guest.spec import AgentInfo
from container.plugins.runtime import life, resources


class FakeProcess:
    """A process that ends when it is told to; `obeys` are the signals that end it."""

    def __init__(self, id, guest, obeys=(9, 15)):
        self.id, self.guest, self.obeys = id, guest, obeys
        self.signals, self.sizes = [], []
        self.stdin = None
        self.oom_killed = False
        self.exited = asyncio.get_running_loop().create_future()

    async def wait(self):
        return await asyncio.shield(self.exited)

    async def signal(self, number, *, timeout=None, default_action=False):
        self.signals.append(number)
        if number in self.obeys:
            self.exit(128 + number)

    async def resize(self, size, *, timeout=None):
        self.sizes.append(size)

    def lose(self):
        if self.exited.done():
            return
        self.exited.set_exception(ContainerError(ErrorCode.INTERRUPTED, "the channel ended"))

    def exit(self, code):
        if not self.exited.done():
            self.exited.set_result(code)


class FakeGuest:
    """Stands in for GuestClient; `refuse` makes a request fail, `obeys` is for its processes."""

    def __init__(self):
        self.calls, self.processes = [], {}
        self.booted = asyncio.Event()
        self.booted.set()
        self.refuse = {}
        self.received, self.owes_an_answer = 0, True
        self.well = asyncio.Event()  # it answers
        self.well.set()
        self.obeys = (9, 15)
        self.info = AgentInfo(1, "fake", "6.1", 0, 0, "boot-id")

    @asynccontextmanager
    async def connect(self, _channel, *, timeout=60.0):
        await self.booted.wait()
        try:
            yield self
        finally:
            for process in self.processes.values():
                process.lose()

    async def _request(self, name):
        self.calls.append(name)
        await asyncio.sleep(0)
        if name in self.refuse:
            raise self.refuse[name]

    async def set_time(self, _seconds, *, timeout=None):
        await self._request("set_time")

    async def mount_rootfs(self, _spec, *, timeout=None):
        await self._request("mount_rootfs")

    async def mount_volumes(self, volumes, *, timeout=None):
        if volumes:
            await self._request("mount_volumes")

    async def configure_network(self, _interfaces, *, timeout=None):
        await self._request("configure_network")

    async def write_files(self, _files, *, timeout=None):
        await self._request("write_files")

    async def start_init(self, id, _process, _container, **_options):
        await self._request("start_init")
        return self._add(id)

    async def start_exec(self, id, _process, **_options):
        await self._request("start_exec")
        return self._add(id)

    async def kernel_log(self, *, timeout=None):
        await self._request("kernel_log")
        return "<6>[    0.000000] Linux version 0\n<4>[    0.000001] more\n"

    async def ping(self, *, timeout=None):
        await self.well.wait()
        self.received += 1

    async def shutdown(self, *, timeout=None):
        await self._request("shutdown")

    def _add(self, id):
        self.processes[id] = FakeProcess(id, self, self.obeys)
        return self.processes[id]


class FakeMachine:
    """Stands in for VirtualMachine."""

    def __init__(self):
        self.agent, self.boot_log, self.name = None, "/nonexistent", "box"
        self.died = asyncio.get_running_loop().create_future()
        self.log = []

    @asynccontextmanager
    async def start(self, spec, *, boot_log, state=None):
        self.log.append("started")
        self.spec = spec
        try:
            yield self
        finally:
            self.log.append("gone")

    async def guard(self, awaitable, *, doing, deadline=None):
        task = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait([task, self.died], return_when=asyncio.FIRST_COMPLETED)
            if not self.died.done():
                return task.result()
            raise ContainerError(ErrorCode.INTERRUPTED, f"{doing} failed: {self.died.result()}")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def keep_going(self):
        pass

    def processor_time(self):
        return 0.5, 0.0

    async def activity(self):
        return "running", 0

    def evidence(self):
        return ""

    async def shutdown(self, *, grace=0.0):
        self.log.append("shut down")


class FakeRelay:
    """The relay, for processes without output but for `hello` at the start."""

    def __init__(self, process, *, stdin=None, stdout=None, stderr=None, tee=None, ready=None):
        self.process, self.stdout, self.tee, self.ready = process, stdout, tee, ready
        self.drained = asyncio.Event()
        self.flushing = asyncio.Event()  # set: the caller has read everything
        self.flushing.set()

    async def run(self):
        if self.ready is not None:
            await self.ready.wait()
        if self.stdout is not None:
            os.write(self.stdout, b"hello\n")
        if self.tee is not None:
            self.tee(b"hello\n", "stdout")
        try:
            return await self.process.wait()
        finally:
            self.drained.set()
            await self.flushing.wait()

    def detach(self):
        self.flushing.set()


def install(monkeypatch):
    """Put a machine and a guest in place of the real ones; returns both."""
    machine, guest = FakeMachine(), FakeGuest()
    monkeypatch.setattr(life, "VirtualMachine", machine)
    monkeypatch.setattr(resources, "agent_path", lambda: "/agent")
    monkeypatch.setattr(resources, "build", lambda *_: "/initramfs")
    monkeypatch.setattr(resources.upper, "ensure", lambda *_, **__: "/upper")
    monkeypatch.setattr(container.guest.client, "GuestClient", guest)
    monkeypatch.setattr(container.guest.streams, "Relay", FakeRelay)
    return machine, guest
