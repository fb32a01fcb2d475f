"""`io.container.Files`: files into and out of containers, and images out of what containers changed."""

from collections.abc import AsyncIterator

from asyncvarlink import FileDescriptor

from container.ipc.interface import Interface, method, stream
from container.model.event import ImageEvent
from container.model.files import CommitOptions, Tree


class Files(Interface, name="io.container.Files"):
    """Served on `paths.APISERVER`. An unknown id is `notFound`. Streams are the caller's own descriptors."""

    @method()
    async def CopyIn(self, *, id: str, path: str, members: bool, archive: FileDescriptor) -> None:
        """Unpack a tar stream in a running container, by the rules of contract 2.3.

        The stream holds one file or directory, whose name is that of the first member; its owner there is root. With
        `members` it is an archive, whose members go into the directory `path` as they are, owners included.
        """

    @method()
    async def CopyOut(self, *, id: str, path: str, attributes: bool, archive: FileDescriptor) -> None:
        """Write a file or directory of a running container as a tar stream, with `attributes` the extended ones, too.

        Links in `path` are followed, those below it are not. Devices are `invalidArgument`, sockets are left out.
        """

    @method()
    async def Read(self, *, id: str, tree: Tree, output: FileDescriptor) -> None:
        """Write what a container's root file system holds; while it runs, its writes wait for the end of it.

        A stopped container cannot be started or removed meanwhile: `invalidState`.
        """

    @stream("event")
    def Commit(self, *, id: str, reference: str, options: CommitOptions) -> AsyncIterator[ImageEvent]:
        """Make an image of a container: its image with what it changed as one more layer; the last event names it."""
