"""An API server that comes back finds what runs."""

import asyncio
import os

import pytest
from unit.apiserver.containers.house import House

from container.errors import ContainerError, ErrorCode
from container.model.container import ContainerState


async def test_a_running_container_goes_on(house: House) -> None:
    await house.create()
    await house.start()
    before = (await house.service.get("web")).status
    await house.restart()
    assert house.helpers["web"].registered
    assert house.helpers["web"].runs == 1
    assert (await house.service.get("web")).status == before
    assert [snapshot.id for snapshot in await house.service.list(False)] == ["web"]
    await house.service.stop("web", None, 5)
    assert (await house.service.get("web")).status.exit_code == 143
    assert not house.helpers["web"].registered


async def test_one_that_was_removed_with_its_run_still_is(house: House) -> None:
    await house.create(auto_remove=True)
    await house.start()
    await house.restart()
    waiting = asyncio.ensure_future(house.service.wait("web"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    house.helpers["web"].exit(0)
    await asyncio.wait_for(waiting, 60)
    assert house.bundles() == []
    await house.service.wait("web")  # one that is not there


async def test_one_whose_helper_ended_meanwhile_is_stopped_with_what_it_wrote(house: House) -> None:
    await house.create()
    await house.create("gone", auto_remove=True)
    await house.start()
    house.helpers["web"].registered = False
    with open(os.path.join(house.roots.bundle("web"), "status.json"), "w") as file:
        file.write('{"state": "stopped", "networks": [], "exitCode": 3}')
    await house.restart()
    status = (await house.service.get("web")).status
    assert (status.state, status.exit_code) == (ContainerState.STOPPED, 3)
    with pytest.raises(ContainerError, match="not found"):
        await house.service.get("gone")


async def test_a_boot_that_was_under_way_is_taken_up(house: House) -> None:
    await house.create()
    house.helpers["web"].boot.clear()
    starting = asyncio.ensure_future(house.start())
    await asyncio.sleep(0.01)
    restarting = asyncio.ensure_future(house.restart())
    await asyncio.sleep(0.01)
    starting.cancel()
    await restarting
    with pytest.raises(ContainerError, match="is running and can not be deleted"):
        await house.service.delete("web", False)
    await house.service.delete("web", True)
    assert house.bundles() == []


async def test_a_record_that_cannot_be_read_is_reported_and_stops_no_other(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.create("good")
    await house.create("bad")
    path = os.path.join(house.roots.bundle("bad"), "config.json")
    with open(path, "w") as file:
        file.write("{")
    await house.restart()
    assert [snapshot.id for snapshot in await house.service.list(True)] == ["good"]
    assert path in caplog.text
    with pytest.raises(ContainerError, match=path) as caught:
        await house.service.get("bad")
    assert caught.value.code is ErrorCode.INTERNAL
    with pytest.raises(ContainerError, match="container already exists: bad"):
        await house.create("bad")
    await house.service.delete("bad", True)
    await house.create("bad")
