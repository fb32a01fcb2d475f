"""`io.container.Containers`: the life of containers, as the API server offers it to CLI and SDK."""

from collections.abc import AsyncIterator

from asyncvarlink import FileDescriptor

from container.ipc.interface import Interface, method, stream
from container.model.container import ContainerRequest, ContainerSnapshot
from container.model.event import CreateEvent, LogFiles, ProcessEvent
from container.model.process import ProcessRequest, WindowSize
from container.model.prune import Pruned


class Containers(Interface, name="io.container.Containers"):
    """Served on `paths.APISERVER`. An unknown id is `notFound`.

    For an `id` the first characters of a generated one are enough (four or more); `invalidArgument` when several
    begin so. Methods that return an `id` tell which container it was.

    The standard streams of `Start` and `Exec` are the caller's own descriptors; a missing one is /dev/null for input
    and the log alone for output. With `terminal` only `stdin` and `stdout` are used, both usually one pseudo-terminal.
    A caller that hangs up detaches: the process goes on. One with an `attachment`, an end of a stream socket, is
    attached until it closes the other end: replies but progress come there too, from the runtime helper itself, so that
    the process is not lost when the API server is. It is asked (`ready`) before anything goes through its streams, to
    prepare its terminal; a byte on the attachment lets them flow.

    A process whose output has lost its reader, a pipe or a socket, gets SIGPIPE.
    """

    @stream("event")
    def Create(self, *, request: ContainerRequest) -> AsyncIterator[CreateEvent]:
        """Resolve the image, merge its configuration, write the record; the last event carries the id."""

    @stream("event")
    def Start(
        self,
        *,
        id: str,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
        environment: dict[str, str] | None = None,
        notices: bool = False,
    ) -> AsyncIterator[ProcessEvent]:
        """Boot the VM and start the init process: progress, `started`, and with `wait` the exit code.

        Of the caller's `environment` only what a start looks up anew matters: `SSH_AUTH_SOCK`. A caller that shows
        `notices` gets those that are due, each of which is given out once.

        With `wait`, a program that cannot be executed has an exit code (126, 127) and no `started`; why was told on
        its standard error. A running container: `invalidState` when a stream or `wait` is asked for, else `started`.
        """

    @stream("event")
    def Exec(
        self,
        *,
        id: str,
        process: ProcessRequest,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncIterator[ProcessEvent]:
        """Start a further process: `started` with its id, and with `wait` the exit code."""

    @method()
    async def Signal(self, *, id: str, process: str, signal: str) -> None:
        """Send a signal (name or number) to one process; `process` is the container's id for its init process."""

    @method()
    async def Resize(self, *, id: str, process: str, size: WindowSize) -> None:
        """Set the window size of a process's terminal."""

    @method()
    async def Wait(self, *, id: str) -> None:
        """Returns when the container is stopped and cleaned up, with `--rm` removed. Unknown: at once."""

    @method("id")
    async def Stop(self, *, id: str, signal: str | None, timeout: float) -> str:
        """Signal, wait `timeout` seconds, KILL; returns when it is stopped and cleaned up. Stopped: no-op."""

    @method("id")
    async def Kill(self, *, id: str, signal: str) -> str:
        """Send a signal to the init process; KILL returns when the container is stopped. Stopped: `invalidState`."""

    @method("id")
    async def Delete(self, *, id: str, force: bool) -> str:
        """Remove a stopped container with all it owns; `force` kills it first. Running: `invalidState`."""

    @method("result")
    async def Prune(self) -> Pruned:
        """Remove every stopped container but those of machines."""

    @method("containers")
    async def List(self, *, all: bool) -> list[ContainerSnapshot]:
        """Running containers, or all of them, sorted by id."""

    @method("container")
    async def Get(self, *, id: str) -> ContainerSnapshot:
        """One container."""

    @method("files")
    async def Logs(self, *, id: str) -> LogFiles:
        """Where the logs of the last start are."""
