"""The kernel's messages get into the boot log: late, once, behind what the console said."""

import asyncio
from pathlib import Path

import pytest
from support.fakeguest import FakeGuest

from container.errors import ContainerError, ErrorCode
from container.plugins.runtime import bootlog
from container.plugins.runtime.bootlog import KernelLog

MESSAGES = "[    0.000000] Linux version 0\n[    0.000001] more\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A boot log in which the console has said something."""
    log = tmp_path / "boot.log"
    log.write_text("a warning\n")
    return log


async def test_messages_come_behind_the_console_without_their_levels(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bootlog, "DELAY", 0.01)
    async with asyncio.TaskGroup() as group:
        with KernelLog(FakeGuest(), str(path), 1).collected(group):
            while path.read_text() == "a warning\n":
                await asyncio.sleep(0.01)
    assert path.read_text() == "a warning\n" + MESSAGES


async def test_an_end_that_is_near_hurries_it(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bootlog, "DELAY", 100)
    async with asyncio.TaskGroup() as group:
        log = KernelLog(FakeGuest(), str(path), 1)
        with log.collected(group):
            await log.complete()
            await log.complete()
    assert path.read_text() == "a warning\n" + MESSAGES


async def test_a_machine_that_is_switched_off_is_not_asked(path: Path) -> None:
    guest = FakeGuest()
    async with asyncio.TaskGroup() as group:
        with KernelLog(guest, str(path), 1).collected(group):
            await asyncio.sleep(0)
    assert guest.calls == []


async def test_a_guest_that_refuses_costs_only_the_messages(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guest = FakeGuest()
    guest.refuse["kernel_log"] = ContainerError(ErrorCode.TIMEOUT, "it takes too long")
    async with asyncio.TaskGroup() as group:
        log = KernelLog(guest, str(path), 1)
        with log.collected(group):
            await log.complete()
    assert path.read_text() == "a warning\n"
    assert "it takes too long" in caplog.text
