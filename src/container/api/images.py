"""`io.container.Images`: the image store, as `container-core-images` serves it."""

from collections.abc import AsyncIterator

from asyncvarlink import FileDescriptor

from container.ipc.interface import Interface, method, stream
from container.model.event import ImageEvent, PrepareEvent
from container.model.files import CommitOptions
from container.model.image import DeleteResult, Image, ImageDescription, Platform, PruneResult
from container.model.registry import Registry
from container.model.system import ResourceUsage


class Images(Interface, name="io.container.Images"):
    """Served on `paths.IMAGES`. References are as typed: the store normalises them (contract 1.10)."""

    @method("images")
    async def List(self) -> list[Image]:
        """Every image, sorted by reference."""

    @method("image")
    async def Get(self, *, reference: str) -> Image:
        """One image, or `notFound`."""

    @stream("event")
    def Load(self, *, archive: FileDescriptor, force: bool) -> AsyncIterator[ImageEvent]:
        """Read an OCI layout or docker-archive tar, plain or gzip, from a file or pipe; unpack every platform."""

    @stream("event")
    def Save(
        self, *, archive: FileDescriptor, references: list[str], platform: Platform | None
    ) -> AsyncIterator[ImageEvent]:
        """Write an uncompressed OCI layout tar."""

    @stream("event")
    def Commit(
        self,
        *,
        image: ImageDescription,
        platform: Platform,
        reference: str,
        options: CommitOptions,
        layer: FileDescriptor,
    ) -> AsyncIterator[ImageEvent]:
        """Make an image of another one and a layer, an uncompressed tar; the last event has its full reference.

        `image` need not have its name any more. An existing `reference` is moved.
        """

    @method("reference")
    async def Tag(self, *, source: str, target: str) -> str:
        """Give an index another name; an existing target is moved."""

    @stream("event")
    def Prepare(
        self,
        *,
        reference: str,
        platform: Platform,
        scheme: str | None = None,
        max_concurrent_downloads: int | None = None,
    ) -> AsyncIterator[PrepareEvent]:
        """Make an image bootable: squashfs per layer, one disk for all; what is there is not made again.

        With `scheme` (`auto`, `http`, `https`) an image that is not here is pulled first, for that platform.
        """

    @stream("event")
    def Pull(
        self, *, reference: str, platform: Platform | None, scheme: str, max_concurrent_downloads: int
    ) -> AsyncIterator[ImageEvent]:
        """Fetch and unpack an image, all platforms that it has or one; the last event has its full reference.

        `scheme` is `auto`, `http` or `https`. The parts of the progress are the layers.
        """

    @stream("event")
    def Push(self, *, reference: str, platform: Platform | None, scheme: str) -> AsyncIterator[ImageEvent]:
        """Send an image, all of it that is here or one platform; the last event has its full reference."""

    @method()
    async def Login(self, *, server: str, username: str, password: str, scheme: str) -> None:
        """Store credentials for a registry after it has accepted them. `unauthenticated` when it has not."""

    @method()
    async def Logout(self, *, server: str) -> None:
        """Forget the credentials for a registry; no error when there are none."""

    @method("registries")
    async def Registries(self) -> list[Registry]:
        """The registries that there are credentials for, by host."""

    @method("result")
    async def Delete(self, *, references: list[str], all: bool, force: bool) -> DeleteResult:
        """Remove names, then content that nothing refers to. An image that a container uses stays, with the reason."""

    @method("result")
    async def Prune(self, *, all: bool) -> PruneResult:
        """Remove names without a tag, with `all` every name, that no container uses, then what nothing refers to."""

    @method("usage")
    async def Usage(self) -> ResourceUsage:
        """Images by name, those that a container uses, and the allocated bytes of all that is stored for them."""
