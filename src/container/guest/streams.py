"""Relays between a process in the guest and descriptors of the host: pipes, files, terminals, sockets."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress

from container.errors import ContainerError
from container.guest.descriptors import Sink, Source
from container.guest.mux import CHUNK, Stream
from container.guest.process import GuestProcess

Tee = Callable[[bytes, str], None]  # (data, "stdout" | "stderr"); called in the loop, must not block
SIGPIPE = 13  # the guest's, which is a Linux
SIGNAL_TIMEOUT = 20.0  # seconds
_SLACK = 1 << 18  # bytes that wait for a slow reader before its stream does


class Relay:
    """The standard streams of one process, until its end.

    Descriptors stay the caller's: they are neither closed nor made non-blocking (the caller's terminal is shared with
    its shell), and must stay open while `run` runs. Without a descriptor the input is left alone and the output goes to
    the tee alone, which gets every byte when it arrives, however slow the descriptor's reader is. When an output's
    reader goes, a pipe's or socket's, the process gets SIGPIPE at once and sees from then on that nobody reads. End of
    file on stdin closes the process's stdin (a terminal's process gets its end-of-file character); a terminal that
    hangs up is a detach.
    """

    def __init__(
        self,
        process: GuestProcess,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        tee: Tee | None = None,
        ready: asyncio.Event | None = None,
    ) -> None:
        """Nothing goes through the descriptors before `ready`, if there is one."""
        self.process = process
        self.drained = asyncio.Event()  # the process ended and its output left the guest: the guest may go
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._tee = tee
        self._ready = ready
        self._sinks: list[Sink] = []
        self._input: asyncio.Task[None] | None = None
        self._attendants: list[asyncio.Task[None]] = []  # these end with the relay

    async def run(self) -> int:
        """Relay until the process ended and its output is written; its exit code.

        ContainerError(INTERRUPTED): the guest went away first; what had arrived is written all the same. Cancelled, it
        leaves the streams to the next relay (and has ended the input of a process without terminal).
        """
        failure: ContainerError | None = None
        code = -1
        with ExitStack() as stack:
            async with asyncio.TaskGroup() as tasks:
                self._start_input(tasks)
                outputs = self._start_outputs(tasks, stack)
                if self._ready is not None:
                    self._attendants.append(tasks.create_task(self._resume(self._ready)))
                try:
                    code = await self.process.wait()
                except ContainerError as error:
                    failure = error
                if self._input is not None:
                    self._input.cancel()
                for sink in self._sinks:
                    sink.release()  # what is left is little: take it all, so that the guest may go
                if outputs:
                    await asyncio.wait(outputs)
                self.drained.set()
                for sink in self._sinks:
                    await sink.flushed()
                for attendant in self._attendants:
                    attendant.cancel()
        self._close()
        if failure is not None:
            raise failure
        return code

    def detach(self) -> None:
        """Let go of the descriptors; the process goes on, its output goes to the tee alone."""
        if self._input is not None:
            self._input.cancel()
        for sink in self._sinks:
            sink.close()

    def _start_input(self, tasks: asyncio.TaskGroup) -> None:
        if self._stdin is not None and self.process.stdin is not None:
            self._input = tasks.create_task(self._feed(self.process.stdin, self._stdin))

    def _start_outputs(self, tasks: asyncio.TaskGroup, stack: ExitStack) -> "list[asyncio.Task[None]]":
        outputs = []
        for stream, fd, name in (
            (self.process.stdout, self._stdout, "stdout"),
            (self.process.stderr, self._stderr, "stderr"),
        ):
            if stream is None:
                continue
            sink = None if fd is None else stack.enter_context(Sink(fd, held=self._ready is not None))
            output = tasks.create_task(self._drain(stream, sink, name))
            outputs.append(output)
            if sink is not None:
                self._sinks.append(sink)
                self._attendants.append(tasks.create_task(self._end_with(sink, stream, output)))
        return outputs

    async def _resume(self, ready: asyncio.Event) -> None:
        await ready.wait()
        for sink in self._sinks:
            sink.resume()

    async def _end_with(self, sink: Sink, stream: Stream, output: "asyncio.Task[None]") -> None:
        """When the reader has gone: signal the process, before it sees that a write fails, and end the output."""
        await sink.reader_gone()
        with suppress(ContainerError):  # it has ended
            await self.process.signal(SIGPIPE, timeout=SIGNAL_TIMEOUT, default_action=True)
        output.cancel()
        stream.close()

    async def _feed(self, stream: Stream, fd: int) -> None:
        hung_up = False
        with suppress(ContainerError):  # the process takes no more, or is gone: its end tells
            try:
                if self._ready is not None:
                    await self._ready.wait()
                with Source(fd) as source:
                    while data := await source.read(CHUNK):
                        await stream.write(data)
                    hung_up = source.hung_up
            finally:
                # cancelled by a detach: a process without terminal sees the end, as when a pipe's writer goes
                if not (hung_up and self.process.terminal) and self.process.exit_code is None:
                    await self._end_input(stream)

    async def _end_input(self, stream: Stream) -> None:
        task = asyncio.current_task()
        if not (self.process.terminal and task is not None and task.cancelling()):
            await stream.write_eof()

    async def _drain(self, stream: Stream, sink: Sink | None, name: str) -> None:
        with suppress(ContainerError):  # the guest is gone: `wait` tells
            while data := await stream.read():
                if self._tee is not None:
                    self._tee(data, name)
                if sink is not None:
                    sink.write(data)
                    if sink.waiting > _SLACK:
                        await sink.room()

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


async def relay(
    process: GuestProcess,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    tee: Tee | None = None,
) -> int:
    """`Relay(…).run()`: the whole of it in one call."""
    return await Relay(process, stdin=stdin, stdout=stdout, stderr=stderr, tee=tee).run()
