"""`io.container.Images`: the image store, as `container-core-images` serves it."""

from collections.abc import AsyncIterator

from asyncvarlink import FileDescriptor

from container.ipc.interface import Interface, method, stream
from container.model.event import ImageEvent, PrepareEvent
from container.model.image import DeleteResult, Image, Platform, PruneResult
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

    @method("reference")
    async def Tag(self, *, source: str, target: str) -> str:
        """Give an index another name; an existing target is moved."""

    @stream("event")
    def Prepare(self, *, reference: str, platform: Platform) -> AsyncIterator[PrepareEvent]:
        """Make an image bootable: squashfs per layer, one disk for all; what is there is not made again."""

    @method("result")
    async def Delete(self, *, references: list[str], all: bool, force: bool) -> DeleteResult:
        """Remove names, then content that nothing refers to. An image that a container uses stays, with the reason."""

    @method("result")
    async def Prune(self, *, all: bool) -> PruneResult:
        """Remove names without a tag, with `all` every name, that no container uses, then what nothing refers to."""

    @method("usage")
    async def Usage(self) -> ResourceUsage:
        """Images by name, those that a container uses, and the allocated bytes of all that is stored for them."""
