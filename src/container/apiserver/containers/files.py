"""Files into and out of containers; what a stopped one holds is read by a machine of its own."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from asyncvarlink import FileDescriptor

from container import paths
from container.api.images import Images
from container.api.runtime import Runtime
from container.apiserver.background import Background
from container.apiserver.containers.container import Container
from container.apiserver.containers.helper import Helpers, RuntimeHelper
from container.apiserver.containers.launch import Launches
from container.apiserver.containers.service import ContainersService
from container.errors import ContainerError, ErrorCode, internal, invalid_state
from container.ipc.client import Client
from container.model.event import ImageEvent
from container.model.files import CommitOptions, Tree
from container.model.launch import Launch
from container.paths import Roots


class FileHelper(Protocol):
    """What is asked of a container's runtime helper. Every call raises ContainerError."""

    async def copy_in(self, path: str, members: bool, archive: FileDescriptor) -> None:
        """As `Runtime.CopyIn`."""

    async def copy_out(self, path: str, attributes: bool, archive: FileDescriptor) -> None:
        """As `Runtime.CopyOut`."""

    async def read(self, tree: Tree, archive: FileDescriptor, launch: Launch | None) -> None:
        """As `Runtime.Read`."""


class FileHelpers(Protocol):
    """The runtime helpers of a system, for files, and the image helper, for layers."""

    def of(self, container: Container) -> FileHelper:
        """The helper of one container."""

    def commit(
        self, container: Container, reference: str, options: CommitOptions, layer: FileDescriptor
    ) -> AbstractAsyncContextManager[AsyncIterator[ImageEvent]]:
        """As `Images.Commit`."""


class RemoteFileHelper:
    """A runtime helper behind its socket. A copy takes as long as it takes."""

    def __init__(self, socket_path: str) -> None:
        self._client = Client(socket_path, timeout=None)

    async def copy_in(self, path: str, members: bool, archive: FileDescriptor) -> None:
        """As `Runtime.CopyIn`."""
        await self._client.call(Runtime.CopyIn, path=path, members=members, archive=archive)

    async def copy_out(self, path: str, attributes: bool, archive: FileDescriptor) -> None:
        """As `Runtime.CopyOut`."""
        await self._client.call(Runtime.CopyOut, path=path, attributes=attributes, archive=archive)

    async def read(self, tree: Tree, archive: FileDescriptor, launch: Launch | None) -> None:
        """As `Runtime.Read`."""
        await self._client.call(Runtime.Read, tree=tree, archive=archive, launch=launch)


class RemoteFileHelpers:
    """The helpers behind the sockets of a system."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    def of(self, container: Container) -> FileHelper:
        """The helper of one container."""
        service = paths.runtime_service(container.configuration.runtime_handler, container.id)
        return RemoteFileHelper(self._roots.socket(service))

    def commit(
        self, container: Container, reference: str, options: CommitOptions, layer: FileDescriptor
    ) -> AbstractAsyncContextManager[AsyncIterator[ImageEvent]]:
        """As `Images.Commit`."""
        rootfs = container.record.rootfs
        return Client(self._roots.socket(paths.IMAGES)).stream(
            Images.Commit,
            image=rootfs.image,
            platform=rootfs.platform,
            reference=reference,
            options=options,
            layer=layer,
        )


class FilesService:
    """See `api.files.Files` for what each operation does; all raise ContainerError."""

    def __init__(
        self,
        containers: ContainersService,
        helpers: Helpers,
        launches: Launches,
        files: FileHelpers,
        tasks: Background,
    ) -> None:
        self._containers = containers
        self._helpers = helpers
        self._launches = launches
        self._files = files
        self._tasks = tasks

    async def copy_in(self, id: str, path: str, members: bool, archive: FileDescriptor) -> None:
        """Unpack a tar stream in a running container."""
        container = await self._containers.find(id)
        with _failing(f"failed to copy into container {id}"):
            await self._running(container).copy_in(path, members, archive)

    async def copy_out(self, id: str, path: str, attributes: bool, archive: FileDescriptor) -> None:
        """Write a file or directory of a running container as a tar stream."""
        container = await self._containers.find(id)
        with _failing(f"failed to copy from container {id}"):
            await self._running(container).copy_out(path, attributes, archive)

    async def read(self, id: str, tree: Tree, output: FileDescriptor) -> None:
        """Write what a container's root file system holds."""
        container = await self._containers.find(id)
        with _failing(f"failed to read the files of container {id}"):
            await self._read(container, tree, output)

    async def commit(self, id: str, reference: str, options: CommitOptions) -> AsyncGenerator[ImageEvent, None]:
        """Make an image of a container; a reading that fails takes the image with it."""
        container = await self._containers.find(id)
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        failure: ContainerError | None = None

        async def produce(output: FileDescriptor) -> None:
            nonlocal failure
            try:
                with output:
                    await self._read(container, Tree.LAYER, output)
            except ContainerError as error:
                failure = error

        reading = asyncio.ensure_future(produce(FileDescriptor(write_end, should_close=True)))
        try:
            with FileDescriptor(read_end, should_close=True) as layer:
                commit = self._files.commit(container, reference, options, layer)
                async with commit as events:
                    layer.close()  # the image helper has its own: a reading must notice when that is gone
                    async for event in events:
                        yield event
        except ContainerError as error:
            await asyncio.wait([reading])
            cause = failure if failure is not None and error.code is ErrorCode.INTERRUPTED else error
            with _failing(f"failed to commit container {id}"):
                raise cause from error
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def _running(self, container: Container) -> FileHelper:
        run = container.run
        if run is None or not run.running or run.stopped.is_set():
            raise invalid_state(f"container {container.id} is not running; `container start {container.id}` starts it")
        return self._files.of(container)

    async def _read(self, container: Container, tree: Tree, output: FileDescriptor) -> None:
        if container.run is not None:
            await self._running(container).read(tree, output, None)
            return
        container.check_unread()
        container.read = True
        helper = self._helpers.of(container.id, container.configuration.runtime_handler)
        try:
            record = container.record
            alone = replace(record, configuration=replace(record.configuration, networks=[]))
            launch = await self._launches.launch(alone)
            await helper.register()
            await self._files.of(container).read(tree, output, launch)
        finally:
            await self._tasks.complete(self._release(container, helper), f"the reading of {container.id}")

    async def _release(self, container: Container, helper: RuntimeHelper) -> None:
        try:
            await helper.deregister()
        finally:
            container.read = False


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """Say what failed, unless the message is about the paths: these stand for themselves (contract 2.3)."""
    try:
        yield
    except ContainerError as error:
        if error.code in (ErrorCode.NOT_FOUND, ErrorCode.INVALID_ARGUMENT):
            raise
        if error.code is ErrorCode.INTERRUPTED:  # which to users means that the system is down
            error = internal(error.describe())
        raise ContainerError(error.code, what, error) from error
