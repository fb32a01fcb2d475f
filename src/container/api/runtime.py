"""`io.container.Runtime`: one container's VM, as its runtime helper serves it to the API server."""

from collections.abc import AsyncIterator

from asyncvarlink import FileDescriptor

from container.ipc.interface import Interface, method, stream
from container.model.container import ContainerStatus
from container.model.event import ProcessEvent
from container.model.files import Tree
from container.model.launch import Launch
from container.model.process import ProcessConfiguration, WindowSize


class Runtime(Interface, name="io.container.Runtime"):
    """Served on `paths.runtime_service(plugin, id)` by a process that lives as long as one run of the container.

    The helper ends after the container stopped; the last status is then in `<bundle>/status.json`. For `attachment` see
    `api.containers`.
    """

    @stream("event")
    def Start(
        self,
        *,
        launch: Launch,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncIterator[ProcessEvent]:
        """Boot and start the init process: progress, `started`, and with `wait` the exit code. Once per helper."""

    @stream("event")
    def Exec(
        self,
        *,
        process: ProcessConfiguration,
        stdin: FileDescriptor | None,
        stdout: FileDescriptor | None,
        stderr: FileDescriptor | None,
        attachment: FileDescriptor | None,
        wait: bool,
    ) -> AsyncIterator[ProcessEvent]:
        """Start a further process in the container's namespaces."""

    @method()
    async def Signal(self, *, process: str, signal: int) -> None:
        """Send a Linux signal number to one process; `process` is the container's id for the init process."""

    @method()
    async def Resize(self, *, process: str, size: WindowSize) -> None:
        """Set the window size of a process's terminal."""

    @method()
    async def Stop(self, *, signal: int, timeout: float) -> None:
        """Signal, wait, KILL, power off; returns when the VM is gone and everything is cleaned up."""

    @method()
    async def CopyIn(self, *, path: str, members: bool, archive: FileDescriptor) -> None:
        """Unpack a tar stream in the running container; see `api.files`."""

    @method()
    async def CopyOut(self, *, path: str, attributes: bool, archive: FileDescriptor) -> None:
        """Write a file or directory of the running container as a tar stream; see `api.files`."""

    @method()
    async def Read(self, *, tree: Tree, archive: FileDescriptor, launch: Launch | None) -> None:
        """Write what the container's root file system holds; see `api.files`.

        With `launch` the container does not run: a machine is booted for it that runs nothing, and the helper ends.
        """

    @method("status")
    async def Status(self) -> ContainerStatus:
        """The container as it is now."""

    @stream("status")
    def Watch(self) -> AsyncIterator[ContainerStatus]:
        """The status now and at each change; the stream ends after `stopped`."""
