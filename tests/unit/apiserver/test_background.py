"""Background tasks: independent of each other and of their callers, ended by their owner."""

import asyncio

import pytest

from container.apiserver.background import Background


async def test_one_that_fails_is_logged_and_takes_no_other_down(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    async with Background() as tasks:
        tasks.start(fail(), "the failing one")
        tasks.start(work(), "the other one")
        await done.wait()
    assert "the failing one failed unexpectedly" in caplog.text


async def test_a_vital_one_that_fails_ends_the_block() -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    async def block() -> None:
        async with Background() as tasks:
            tasks.start(fail(), "the vital one", vital=True)
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup):
        await block()


async def test_leaving_cancels_what_still_runs() -> None:
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            cancelled.set()

    async with Background() as tasks:
        tasks.start(wait(), "the waiting one")
        await asyncio.sleep(0)
    assert cancelled.is_set()


async def test_complete_goes_on_without_its_caller() -> None:
    done = asyncio.Event()

    async def work() -> int:
        await asyncio.sleep(0.01)
        done.set()
        return 5

    async def fail() -> None:
        raise ValueError("broken")

    async with Background() as tasks:
        caller = asyncio.ensure_future(tasks.complete(work(), "some work"))
        await asyncio.sleep(0)
        caller.cancel()
        await done.wait()
        assert await tasks.complete(work(), "some work") == 5
        with pytest.raises(ValueError, match="broken"):
            await tasks.complete(fail(), "failing work")
