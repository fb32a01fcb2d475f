"""What a pull or push tells of itself: two steps, and each layer with its state and bytes, a few times a second."""

import asyncio
import time
from collections.abc import Callable

from container.model.event import Progress, ProgressPart
from container.model.image import Descriptor
from container.oci.digest import hex_of

WAITING, DOWNLOADING, UNPACKING, UPLOADING, EXISTS, DONE = (
    "waiting",
    "downloading",
    "unpacking",
    "uploading",
    "exists",
    "done",
)
_INTERVAL = 0.1


class _Part:
    def __init__(self, blob: Descriptor) -> None:
        self.name = hex_of(blob.digest)[:12]
        self.size = blob.size
        self.state = WAITING
        self.moved = 0  # bytes fetched or sent


class TransferProgress:
    """The layers of one task. Call it in the event loop, except for `unpacked`."""

    def __init__(self, report: Callable[[Progress], None], steps: tuple[str, ...]) -> None:
        self._report = report
        self._steps = steps
        self._parts: dict[str, _Part] = {}
        self._loop = asyncio.get_running_loop()
        self._told = 0.0
        self._unpacked = 0
        self._timer: asyncio.TimerHandle | None = None
        self.tell()

    def add(self, blob: Descriptor, *, here: bool = False) -> None:
        """A layer; `here`: there is nothing to move."""
        part = self._parts.setdefault(blob.digest, _Part(blob))
        if here:
            part.state, part.moved = EXISTS, part.size

    def moved(self, blob: Descriptor, count: int, state: str = DOWNLOADING) -> None:
        """Bytes of a layer that are moved so far."""
        part = self._parts[blob.digest]
        part.moved = count
        if part.state in (WAITING, DOWNLOADING, UPLOADING):
            part.state = UNPACKING if count == part.size and state == DOWNLOADING else state
        self._changed()

    def finished(self, blob: Descriptor, state: str = DONE) -> None:
        """A layer is done with."""
        part = self._parts[blob.digest]
        part.state, part.moved = state, part.size
        self._changed()

    def unpacked(self, count: int) -> None:
        """Some more compressed bytes are unpacked; from any thread."""
        self._unpacked += count
        if time.monotonic() >= self._told + _INTERVAL:
            self._loop.call_soon_threadsafe(self._changed)

    def close(self) -> None:
        """Say the last word."""
        for part in self._parts.values():
            if part.state != EXISTS:
                part.state = DONE
        self._unpacked = sum(part.size for part in self._parts.values())
        self.tell()
        self.stop()

    def stop(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._report = _nothing

    def tell(self) -> None:
        """Report now."""
        self._timer, self._told = None, time.monotonic()
        parts = list(self._parts.values())
        total = sum(part.size for part in parts)
        moved = sum(part.moved for part in parts)
        second = len(self._steps) > 1 and bool(parts) and moved >= total
        self._report(
            Progress(
                self._steps[1 if second else 0],
                2 if second else 1,
                len(self._steps),
                bytes=min(self._unpacked, total) if second else moved if parts else None,
                total_bytes=total if parts else None,
                parts=[ProgressPart(part.name, part.state, part.moved, part.size) for part in parts] or None,
            )
        )

    def _changed(self) -> None:
        wait = self._told + _INTERVAL - time.monotonic()
        if wait <= 0:
            if self._timer is not None:
                self._timer.cancel()
            self.tell()
        elif self._timer is None:
            self._timer = self._loop.call_later(wait, self.tell)


def _nothing(_: Progress) -> None:
    pass
