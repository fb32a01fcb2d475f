"""A guest that stops to answer is told, once, and that it answers again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from container.errors import ContainerError, ErrorCode
from container.plugins.runtime import pulse


class Guest:
    """Answers while `well`; `received` grows with each answer."""

    def __init__(self) -> None:
        self.received, self.pings = 0, 0
        self.well = asyncio.Event()
        self.well.set()
        self.lost = False

    async def ping(self, *, timeout: float) -> None:
        self.pings += 1
        await self.well.wait()
        if self.lost:
            raise ContainerError(ErrorCode.INTERRUPTED, "the channel ended")
        self.received += 1


class Machine:
    name = "box"
    state = "running"

    async def activity(self) -> tuple[str, int]:
        return self.state, 0


class Bed:
    """A guest with its pulse taken; `told` is what was told of it."""

    def __init__(self) -> None:
        self.guest, self.machine = Guest(), Machine()
        self.told: list[str | None] = []
        self.task = asyncio.create_task(
            pulse.watch(self.guest, self.machine, 1.0, self.told.append)  # type: ignore[arg-type]
        )


@pytest.fixture
async def bed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bed]:
    for name, seconds in (("INTERVAL", 0.05), ("PATIENCE", 0.2), ("_STEP", 0.02)):
        monkeypatch.setattr(pulse, name, seconds)
    bed = Bed()
    yield bed
    bed.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await bed.task


async def test_a_guest_that_answers_is_told_nothing_of(bed: Bed) -> None:
    await asyncio.sleep(0.6)
    assert bed.guest.pings > 3
    assert bed.told == []


async def test_one_that_stops_is_told_once_and_again_when_it_answers(bed: Bed) -> None:
    bed.guest.well.clear()
    await asyncio.sleep(0.8)
    assert bed.guest.pings == 1  # nothing piles up
    assert len(bed.told) == 1
    assert str(bed.told[0]).endswith("Z")
    bed.guest.well.set()
    await asyncio.sleep(0.1)
    assert bed.told[1:] == [None]


async def test_one_that_is_heard_of_anyhow_is_not_asked(bed: Bed) -> None:
    for _ in range(30):
        bed.guest.received += 1
        await asyncio.sleep(0.01)
    assert bed.guest.pings == 0


async def test_a_machine_that_is_halted_is_not_to_blame(bed: Bed) -> None:
    bed.machine.state = "io-error"
    bed.guest.well.clear()
    await asyncio.sleep(0.8)
    assert bed.told == []
    bed.machine.state = "running"
    await asyncio.sleep(0.6)
    assert len(bed.told) == 1


async def test_the_end_of_the_channel_ends_it(bed: Bed) -> None:
    bed.guest.lost = True
    await asyncio.wait_for(bed.task, 5)
    assert bed.told == []
