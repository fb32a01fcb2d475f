"""Typed client of the guest agent.

    async with GuestClient.connect(vm.agent, timeout=60.0) as guest:
        await guest.mount_rootfs(RootfsSpec(partitions=[1, 2]))
        process = await guest.start_init("web", configuration, ContainerSpec(hostname="web"), stdin=True)
        code = await relay(process, stdin=0, stdout=1, stderr=2)  # of guest.streams

Requests are sent in the order of the calls and the agent serves them in that order, so calls may be pipelined with a
TaskGroup. Each call has a deadline (`timeout` in seconds, None = the client's default) and raises GuestError: an
expected failure with the guest's errno and sentence; ContainerError(TIMEOUT) past the deadline;
ContainerError(INTERRUPTED) when the channel ended.
"""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from container.errors import ContainerError, ErrorCode
from container.guest import wire
from container.guest.mux import Mux, Stream
from container.guest.process import GuestError, GuestProcess
from container.guest.spec import AgentInfo, ContainerSpec, FileSpec, InterfaceSpec, RootfsSpec, Statistics, VolumeSpec
from container.model import codec
from container.model.process import ProcessConfiguration, WindowSize


class GuestClient:
    """The agent of one virtual machine; `info` is what it said of itself."""

    def __init__(self, channel: socket.socket, timeout: float) -> None:
        self._mux = Mux(channel, self._event)
        self._timeout = timeout
        self._asked = 0  # requests that are under way
        self._processes: dict[str, GuestProcess] = {}
        self._listeners: dict[str, Callable[[Stream], None]] = {}
        self.info = AgentInfo(version=0, agent="", kernel="", uptime_ms=0, started_ms=0, boot_id="")

    @classmethod
    @asynccontextmanager
    async def connect(cls, channel: socket.socket, *, timeout: float = 60.0) -> AsyncIterator["GuestClient"]:
        """Say HELLO and wait until the agent answers (= the guest is up); `timeout` is also the default deadline.

        `channel` stays the caller's. Leaving the context fails what is pending; nothing is sent any more.
        """
        client = cls(channel, timeout)
        failure: BaseException | None = None
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(client._serve(), name="guest-channel")
            try:
                await client._greet()
                yield client
            except Exception as error:  # carried past the group, which would wrap it
                failure = error
            finally:
                reader.cancel()
        if failure is not None:
            raise failure

    @property
    def owes_an_answer(self) -> bool:
        """Whether a request is under way."""
        return self._asked > 0

    @property
    def received(self) -> int:
        """Bytes that have come from the agent."""
        return self._mux.received

    async def _serve(self) -> None:
        try:
            await self._mux.run()
        finally:
            for process in self._processes.values():
                process._lost(self._mux.error)

    async def _greet(self) -> None:
        answer = await self._within("hello", self._timeout, self._mux.hello())
        if answer.get("version") != wire.PROTO_VERSION:
            theirs, ours = answer.get("version"), wire.PROTO_VERSION
            text = (
                f"the guest agent speaks protocol version {theirs}, this program {ours}; `make native` builds both anew"
            )
            raise ContainerError(ErrorCode.UNSUPPORTED, text)
        self.info = codec.decode(AgentInfo, answer, "guest agent's hello")

    def _event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "exit":
            process = self._processes.pop(str(event.get("process")), None)
            if process is not None:
                process._ended(event)
        elif event.get("event") == "connection":
            stream = self._mux.adopt(int(event["stream"]))
            listener = self._listeners.get(str(event.get("listener")))
            if listener is None:
                stream.close()
            else:
                listener(stream)

    async def _within(self, what: str, timeout: float, answer: "Any") -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout):
                result: dict[str, Any] = await answer
                return result
        except TimeoutError:
            message = f"the guest agent did not answer {what} within {timeout:g} s"
            raise ContainerError(ErrorCode.TIMEOUT, message) from None

    async def _call(self, op: str, timeout: float | None, /, **arguments: Any) -> dict[str, Any]:
        request = {"op": op, **arguments}
        self._asked += 1
        try:
            reply = await self._within(op, self._timeout if timeout is None else timeout, self._mux.request(request))
        finally:
            self._asked -= 1
        error = reply.get("error")
        if isinstance(error, dict):
            code = ErrorCode.parse(str(error.get("code")))
            raise GuestError(code, str(error.get("message")), int(error.get("errno", 0)), error.get("exitCode"))
        result = reply.get("result")
        return result if isinstance(result, dict) else {}

    # ---- before the container runs ----

    async def mount_rootfs(self, spec: RootfsSpec, *, timeout: float | None = None) -> None:
        """Mount layers, upper and overlay. Once."""
        await self._call("rootfs.mount", timeout, **codec.encode(spec))

    async def mount_volumes(self, volumes: Sequence[VolumeSpec], *, timeout: float | None = None) -> None:
        """Mount disks and shares for the container's mounts of kind `bind`; the agent unmounts them at `shutdown`."""
        if volumes:
            await self._call("volumes.mount", timeout, volumes=codec.encode(list(volumes)))

    async def fill_volume(self, name: str, destination: str, *, timeout: float | None = None) -> None:
        """Fill a mounted volume, if it is empty, with what the root file system has at `destination`."""
        await self._call("volume.fill", timeout, name=name, destination=destination)

    async def configure_network(self, interfaces: Sequence[InterfaceSpec], *, timeout: float | None = None) -> None:
        """Bring up lo and the interfaces; waits for each MAC to appear."""
        await self._call("network.configure", timeout, interfaces=codec.encode(list(interfaces)))

    async def write_files(self, files: Sequence[FileSpec], *, timeout: float | None = None) -> None:
        """Write files into the root file system (also into one that the container sees read-only)."""
        await self._call("files.write", timeout, files=codec.encode(list(files)))

    async def set_sysctls(self, sysctls: dict[str, str], *, timeout: float | None = None) -> None:
        """Set sysctls of the guest as a whole, before the container starts."""
        await self._call("sysctl.set", timeout, sysctls=sysctls)

    # ---- processes ----

    async def start_init(
        self,
        process_id: str,
        process: ProcessConfiguration,
        container: ContainerSpec,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        size: WindowSize | None = None,
        timeout: float | None = None,
    ) -> GuestProcess:
        """Make the container's namespaces and start its first process. A stream not asked for is /dev/null."""
        more = {"container": codec.encode(container)}
        return await self._start(process_id, process, (stdin, stdout, stderr), size, timeout, more)

    async def start_exec(
        self,
        process_id: str,
        process: ProcessConfiguration,
        *,
        capabilities: Sequence[str] | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        size: WindowSize | None = None,
        timeout: float | None = None,
    ) -> GuestProcess:
        """Start a further process in the running container; capabilities None = those of the init process."""
        more = {} if capabilities is None else {"capabilities": list(capabilities)}
        return await self._start(process_id, process, (stdin, stdout, stderr), size, timeout, more)

    async def _start(
        self,
        process_id: str,
        configuration: ProcessConfiguration,
        wanted: tuple[bool, bool, bool],
        size: WindowSize | None,
        timeout: float | None,
        more: dict[str, Any],
    ) -> GuestProcess:
        names = [name for name, want in zip(("stdin", "stdout", "stderr"), wanted, strict=True) if want]
        if configuration.terminal and "stderr" in names:
            names.remove("stderr")
        streams = {name: self._mux.open() for name in names}
        process = GuestProcess(self, process_id, configuration.terminal, streams)
        if process_id in self._processes:
            raise ContainerError(ErrorCode.EXISTS, f"process {process_id} exists already in the container")
        self._processes[process_id] = process
        request: dict[str, Any] = {
            "id": process_id,
            "process": _process(configuration),
            "streams": {name: stream.number for name, stream in streams.items()},
            **({} if size is None else {"size": codec.encode(size)}),
            **more,
        }
        try:
            result = await self._call("process.start", timeout, **request)
        except BaseException:
            self._processes.pop(process_id, None)
            process._forget()
            raise
        process.pid = int(result.get("pid", 0))
        return process

    # ---- unix sockets ----

    async def listen(
        self, listener: str, on_connection: Callable[[Stream], None], *, timeout: float | None = None
    ) -> None:
        """Make a unix socket in the guest, which a mount of kind `socket` and this source puts into the container.

        `on_connection` is called in the loop with the stream of each connection, which it must close.
        """
        self._listeners[listener] = on_connection
        await self._call("socket.listen", timeout, listener=listener)

    async def connect_socket(self, path: str, *, timeout: float | None = None) -> Stream:
        """Connect to a unix socket that a process of the container listens on; the stream is the caller's to close."""
        stream = self._mux.open()
        try:
            await self._call("socket.connect", timeout, path=path, stream=stream.number)
        except BaseException:
            stream.close()
            raise
        return stream

    def transfer(self, op: str, **arguments: Any) -> tuple[Stream, Coroutine[Any, Any, None]]:
        """A stream for one of the agent's transfers (guest/src/transfer.h), and its request, which has no deadline.

        Both are the caller's: the request is to be awaited and the stream to be closed, which ends the transfer.
        """
        stream = self._mux.open()

        async def request() -> None:
            await self._call(op, math.inf, stream=stream.number, **arguments)

        return stream, request()

    # ---- the guest as a whole ----

    async def ping(self, *, timeout: float | None = None) -> None:
        """Returns when the agent has answered."""
        await self._call("ping", timeout)

    async def statistics(self, *, timeout: float | None = None) -> Statistics:
        """Resource use up to now."""
        return codec.decode(Statistics, await self._call("statistics", timeout), "guest agent's statistics")

    async def kernel_log(self, *, timeout: float | None = None) -> str:
        """The kernel's messages, each line with its level: `<6>[    0.000000] Linux version …` (syslog(2))."""
        return str((await self._call("kernel.log", timeout)).get("text", ""))

    async def sync(self, *, timeout: float | None = None) -> None:
        """Write back the upper file system."""
        await self._call("filesystem.sync", timeout)

    async def trim(self, *, timeout: float | None = None) -> int:
        """Discard unused blocks of the upper file system; bytes discarded."""
        return int((await self._call("filesystem.trim", timeout)).get("trimmed", 0))

    async def set_time(self, seconds: float, *, timeout: float | None = None) -> None:
        """Set the guest's clock: seconds since the epoch."""
        whole, part = divmod(seconds, 1)
        await self._call("time.set", timeout, seconds=int(whole), nanoseconds=int(part * 1e9))

    async def shutdown(self, *, timeout: float | None = None) -> None:
        """Kill all, unmount, sync; returns when the agent is about to power off."""
        await self._call("shutdown", timeout)


def _process(configuration: ProcessConfiguration) -> dict[str, Any]:
    """The process as the agent reads it: unlimited is -1, its JSON integers are signed."""
    rlimits = [replace(limit, soft=_limit(limit.soft), hard=_limit(limit.hard)) for limit in configuration.rlimits]
    encoded: dict[str, Any] = codec.encode(replace(configuration, rlimits=rlimits))
    return encoded


def _limit(value: int) -> int:
    return -1 if value >= 2**63 else value
