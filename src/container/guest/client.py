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
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from container.errors import ContainerError, ErrorCode
from container.guest import wire
from container.guest.mux import Mux, Stream
from container.guest.spec import AgentInfo, ContainerSpec, FileSpec, InterfaceSpec, RootfsSpec, Statistics
from container.model import codec
from container.model.process import ProcessConfiguration, WindowSize


class GuestError(ContainerError):
    """A failure that the agent reports. `errno` is the guest's; `exit_code` 126 or 127: the program cannot be run."""

    def __init__(self, code: ErrorCode, message: str, errno: int = 0, exit_code: int | None = None) -> None:
        super().__init__(code, message)
        self.errno = errno
        self.exit_code = exit_code


class GuestProcess:
    """A started process. `stdout` and `stderr` must be read (see `streams.relay`), or the process stalls.

    A stream is None when it was not asked for; `stderr` also with a terminal. `pid` is as the agent sees it.
    """

    def __init__(self, client: "GuestClient", process_id: str, terminal: bool, streams: dict[str, Stream]) -> None:
        self.id = process_id
        self.pid = 0
        self.terminal = terminal
        self.stdin = streams.get("stdin")
        self.stdout = streams.get("stdout")
        self.stderr = streams.get("stderr")
        self.oom_killed = False  # the guest's out-of-memory killer struck in the container; valid after `wait`
        self._client = client
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Exit code (128+n for signal n) as soon as the process ended; its output may still be on the way.

        ContainerError(INTERRUPTED): the channel ended first.
        """
        return await asyncio.shield(self._exit)

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while the process runs (or was lost)."""
        done = self._exit.done() and not self._exit.cancelled() and self._exit.exception() is None
        return self._exit.result() if done else None

    async def signal(self, number: int, *, timeout: float | None = None) -> None:
        """Send a Linux signal number. The process is over: GuestError(NOT_FOUND)."""
        await self._client._call("process.signal", timeout, id=self.id, signal=number)

    async def resize(self, size: WindowSize, *, timeout: float | None = None) -> None:
        """Set the terminal's window size."""
        await self._client._call("process.resize", timeout, id=self.id, size=codec.encode(size))

    def _ended(self, event: dict[str, Any]) -> None:
        self.oom_killed = bool(event.get("oomKilled"))
        if not self._exit.done():
            self._exit.set_result(int(event.get("code", 255)))

    def _lost(self, error: ContainerError) -> None:
        if not self._exit.done():
            self._exit.set_exception(error)
            self._exit.exception()  # seen: nobody may be waiting

    def _forget(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()


class GuestClient:
    """The agent of one virtual machine; `info` is what it said of itself."""

    def __init__(self, channel: socket.socket, timeout: float) -> None:
        self._mux = Mux(channel, self._event)
        self._timeout = timeout
        self._processes: dict[str, GuestProcess] = {}
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

    async def _serve(self) -> None:
        try:
            await self._mux.run()
        finally:
            for process in self._processes.values():
                process._lost(self._mux.error)

    async def _greet(self) -> None:
        answer = await self._within("hello", self._timeout, self._mux.hello())
        if answer.get("version") != wire.PROTO_VERSION:
            raise ContainerError(
                ErrorCode.UNSUPPORTED,
                f"the guest agent speaks protocol version {answer.get('version')}, this program {wire.PROTO_VERSION}",
            )
        self.info = codec.decode(AgentInfo, answer, "guest agent's hello")

    def _event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "exit":
            process = self._processes.pop(str(event.get("process")), None)
            if process is not None:
                process._ended(event)

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
        reply = await self._within(op, self._timeout if timeout is None else timeout, self._mux.request(request))
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
            raise ContainerError(ErrorCode.EXISTS, f"process {process_id} exists already")
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

    # ---- the guest as a whole ----

    async def statistics(self, *, timeout: float | None = None) -> Statistics:
        """Resource use up to now."""
        return codec.decode(Statistics, await self._call("statistics", timeout), "guest agent's statistics")

    async def sync(self, *, timeout: float | None = None) -> None:
        """Write back the upper file system."""
        await self._call("filesystem.sync", timeout)

    async def freeze(self, *, timeout: float | None = None) -> None:
        """Stop writes to the upper file system until `thaw`."""
        await self._call("filesystem.freeze", timeout)

    async def thaw(self, *, timeout: float | None = None) -> None:
        """Undo `freeze`."""
        await self._call("filesystem.thaw", timeout)

    async def trim(self, *, timeout: float | None = None) -> int:
        """Discard unused blocks of the upper file system; bytes discarded."""
        return int((await self._call("filesystem.trim", timeout)).get("trimmed", 0))

    async def set_time(self, seconds: float, *, timeout: float | None = None) -> None:
        """Set the guest's clock: seconds since the epoch."""
        whole, part = divmod(seconds, 1)
        await self._call("time.set", timeout, seconds=int(whole), nanoseconds=int(part * 1e9))

    async def reseed(self, seed: bytes, *, timeout: float | None = None) -> None:
        """Credit random bytes (at most 512) to the guest's pool."""
        await self._call("random.reseed", timeout, seed=seed.hex())

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
