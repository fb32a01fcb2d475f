"""When a start hangs, and what shows that it does not."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from container.vm import watchdog
from container.vm.watchdog import Stalled, Watchdog


class Machine:
    """What the watchdog looks at, in the hands of the test."""

    def __init__(self, directory: Path) -> None:
        self.boot_log = str(directory / "boot.log")
        Path(self.boot_log).touch()
        self.used = self.waited = 0.0  # more seconds at each look
        self.state, self.operations = "running", 0
        self._looks = 0

    def processor_time(self) -> tuple[float, float]:
        self._looks += 1
        return self._looks * self.used, self._looks * self.waited

    async def activity(self) -> tuple[str, int]:
        return self.state, self.operations

    def evidence(self) -> str:
        return ""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name, seconds in (
        *(("SHORTEST", 0.1), ("LONGEST_RESTORED", 0.4)),
        *(("LONGEST_BOOTED", 30.0), ("_PAUSE", 0.01)),
    ):
        monkeypatch.setattr(watchdog, name, seconds)
    return Machine(tmp_path)


async def hangs(
    machine: Machine, work: Callable[[], None] = lambda: None, *, usual: float | None = None, restored: bool = True
) -> bool:
    """Whether a start that takes 0.8 s is called hanging; `work` is done every 20 ms of it."""
    dog = Watchdog(machine, usual, restored=restored)  # type: ignore[arg-type]

    async def start() -> None:
        for _ in range(40):
            await asyncio.sleep(0.02)
            work()

    task = dog.start(asyncio.get_running_loop())  # type: ignore[arg-type]
    try:
        await dog.over(start())
    except Stalled:
        return True
    finally:
        task.cancel()
    return False


async def test_silence_that_is_long_is_a_hang_whatever_was_used(machine: Machine) -> None:
    assert await hangs(machine)


async def test_a_boot_may_be_silent_for_longer(machine: Machine) -> None:
    assert not await hangs(machine, restored=False)


async def test_a_guest_that_spins_is_found_sooner(machine: Machine) -> None:
    machine.used = 1.0
    assert await hangs(machine, usual=1.0, restored=False)


async def test_a_machine_that_waits_for_a_processor_is_given_more_time(machine: Machine) -> None:
    machine.waited = 0.01
    assert not await hangs(machine)


async def test_what_comes_on_the_console_is_progress(machine: Machine) -> None:
    def speak() -> None:
        with open(machine.boot_log, "a") as file:
            file.write("x\n")

    assert not await hangs(machine, speak)


async def test_what_comes_from_the_agent_is_progress(machine: Machine) -> None:
    dog = Watchdog(machine, None, restored=True)  # type: ignore[arg-type]
    counted = iter(range(1000))
    dog.heard = lambda: next(counted)
    task = dog.start(asyncio.get_running_loop())  # type: ignore[arg-type]
    await dog.over(asyncio.sleep(0.8))
    task.cancel()


async def test_an_agent_of_which_nothing_is_asked_may_be_silent(machine: Machine) -> None:
    dog = Watchdog(machine, None, restored=True)  # type: ignore[arg-type]
    dog.heard = lambda: None
    task = dog.start(asyncio.get_running_loop())  # type: ignore[arg-type]
    await dog.over(asyncio.sleep(0.8))
    task.cancel()


async def test_requests_to_the_disks_are_progress(machine: Machine) -> None:
    def read() -> None:
        machine.operations += 1

    assert not await hangs(machine, read)


async def test_a_machine_that_waits_for_room_on_the_hosts_disk_does_not_hang(machine: Machine) -> None:
    machine.state = "io-error"
    assert not await hangs(machine)


async def test_what_the_start_raises_comes_through(machine: Machine) -> None:
    async def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await Watchdog(machine, None, restored=True).over(fail())  # type: ignore[arg-type]


async def test_a_start_that_failed_is_watched_no_longer(machine: Machine) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.05)
        raise ValueError

    dog = Watchdog(machine, None, restored=True)  # type: ignore[arg-type]
    task = dog.start(asyncio.get_running_loop())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^$"):
        await dog.over(fail())
    await asyncio.wait([task])
    assert task.cancelled()


async def test_nothing_is_watched_once_the_start_is_over(machine: Machine) -> None:
    dog = Watchdog(machine, None, restored=True)  # type: ignore[arg-type]
    dog.start(asyncio.get_running_loop())  # type: ignore[arg-type]

    async def run() -> None:
        dog.stop()
        await asyncio.sleep(0.8)

    await dog.over(run())
