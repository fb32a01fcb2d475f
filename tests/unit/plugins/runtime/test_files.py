"""Copies that are under way when their container stops."""

import asyncio

import pytest

from container.errors import ContainerError, ErrorCode
from container.plugins.runtime.files import Transfers


async def test_an_interrupted_copy_may_be_interrupted_again_while_it_ends() -> None:
    ending = asyncio.Event()

    async def copy() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ending.set()
            await asyncio.sleep(0.05)

    transfers = Transfers("box")
    task = asyncio.create_task(transfers.run(copy()))
    await asyncio.sleep(0)
    transfers.interrupt()
    transfers.interrupt()
    await ending.wait()
    transfers.interrupt()
    with pytest.raises(ContainerError, match="container box was told to stop") as caught:
        await task
    assert caught.value.code is ErrorCode.INVALID_STATE
