"""Layers to squashfs to disk, for one platform of an image: side by side, shared by callers, nothing made twice."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from container.errors import ContainerError
from container.model.image import Descriptor
from container.oci.content import ContentStore
from container.oci.digest import chain_id
from container.oci.image import Variant
from container.oci.layerindex import LayerIndex
from container.oci.layers import LayerBuild, LayerStore
from container.oci.layerstream import Open, stored
from container.oci.partial import Damaged
from container.oci.pipes import Cancellation
from container.oci.rootfs import DiskStore, Part
from container.plugins.images.tasks import Flights, Ticket, cancellable, in_thread


class Source(Protocol):
    """Where layers come from."""

    def reading(self, blob: Descriptor) -> AbstractAsyncContextManager[Open]:
        """A place among the builds, and how to open a compressed layer, as long as this is open."""


class Stored:
    """Layers of the content store, as many at a time as there are processors."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._slots = asyncio.Semaphore(len(os.sched_getaffinity(0)))

    @contextlib.asynccontextmanager
    async def reading(self, blob: Descriptor) -> AsyncIterator[Open]:
        """See `Source`."""
        async with self._slots:
            yield stored(self._content.path(blob.digest))


@dataclass(frozen=True)
class Built:
    """A stack of layers that is there as squashfs files, the lowest first."""

    paths: list[str]
    indexes: list[LayerIndex]

    def with_top(self, path: str, index: LayerIndex) -> "Built":
        """The stack with one more layer."""
        return Built([*self.paths, path], [*self.indexes, index])


class Unpacker:
    """Makes the layers and disks of one store. Runs as long as `flights`."""

    def __init__(self, content: ContentStore, layers: LayerStore, disks: DiskStore, flights: Flights) -> None:
        self.stored = Stored(content)
        self._layers = layers
        self._disks = disks
        self._flights = flights

    async def built(self, variant: Variant) -> bool:
        """Whether `disk` has nothing to unpack; another stack may need another form of a layer all the same."""
        return await in_thread(lambda: all(map(self._layers.built, variant.diff_ids())))

    async def disk(
        self, variant: Variant, count: Callable[[int], None], source: Source | None = None
    ) -> tuple[str, list[Part]]:
        """The disk of one platform, made of what is there and what is made now, from `source` (the content store).

        `count` is told compressed bytes as they are done with, from any thread. Raises ContainerError, when nothing
        is being made any more that only this caller wanted.
        """
        diff_ids = variant.diff_ids()
        try:
            built = await self._stack(variant, diff_ids, count, source or self.stored)
        finally:
            await self._flights.ended()
        visible = max((at for at, index in enumerate(built.indexes) if b"" in index.opaque), default=0)
        parts = list(zip(diff_ids, built.paths, strict=True))[visible:]  # an opaque root hides all below it
        return await in_thread(self._disks.make, chain_id(diff_ids), parts)

    async def _stack(
        self, variant: Variant, diff_ids: list[str], count: Callable[[int], None], source: Source, again: bool = True
    ) -> Built:
        """All layers; `again` once more from `source` when what others were making from theirs comes to nothing."""
        with contextlib.ExitStack() as held:
            stacks = [diff_ids[:height] for height in range(1, len(diff_ids) + 1)]
            tickets = [held.enter_context(self._join(variant, stack, count, source)) for stack in stacks]
            try:
                return await tickets[-1].result() if tickets else Built([], [])
            except (ContainerError, Damaged):
                if not again or all(ticket.began for ticket in tickets):
                    raise
        return await self._stack(variant, diff_ids, count, source, again=False)

    def _join(self, variant: Variant, stack: list[str], count: Callable[[int], None], source: Source) -> Ticket[Built]:
        return self._flights.join(chain_id(stack), lambda: self._extend(variant, stack, count, source))

    async def _extend(self, variant: Variant, stack: list[str], count: Callable[[int], None], source: Source) -> Built:
        """The stack `stack`: its highest layer is made here, the others in their own flights, which began earlier."""
        top, chain = stack[-1], chain_id(stack)
        with contextlib.ExitStack() as held:
            below = held.enter_context(self._join(variant, stack[:-1], count, source)) if len(stack) > 1 else None

            async def lower() -> Built:
                return await below.result() if below else Built([], [])

            index = await in_thread(self._layers.index, top)
            if index is not None:
                under = await lower()
                found = await in_thread(self._layers.find, top, under.indexes, chain)
                if found is not None:
                    count(variant.layers[len(stack) - 1].size)
                    return under.with_top(*found)
            return await self._build(source, variant.layers[: len(stack)], stack, lower, count)

    async def _build(
        self,
        source: Source,
        blobs: list[Descriptor],
        diff_ids: list[str],
        lower: Callable[[], Awaitable[Built]],
        count: Callable[[int], None],
    ) -> Built:
        with contextlib.ExitStack() as stack:
            cancellation = stack.enter_context(Cancellation())
            async with source.reading(
                blobs[-1]
            ) as opened:  # left before others are waited for: they may need the place
                build = stack.enter_context(LayerBuild(self._layers, opened, diff_ids[-1], cancellation, count))
                index = await cancellable(cancellation, build.feed)
            under = await lower()
            if index.stacked:
                async with source.reading(blobs[-1]) as opened:
                    loans = await cancellable(cancellation, partial(build.put_on, under.paths, opened))
                for number, loan in loans.items():
                    async with source.reading(blobs[number]) as lender:
                        await cancellable(cancellation, partial(build.take_up, lender, diff_ids[number], loan))
            return under.with_top(
                *await cancellable(cancellation, lambda: build.finish(under.indexes, chain_id(diff_ids)))
            )
