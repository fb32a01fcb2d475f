"""What a machine's work is cancelled by."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.errors import ContainerError
from container.model.system import Accelerator
from container.vm.process import Child
from container.vm.qemu import VirtualMachine
from container.vm.qmp import Monitor
from container.vm.spec import VMSpec


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


async def test_a_machine_may_end_while_what_it_failed_to_do_in_time_is_given_up(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    spec = VMSpec("box", "amd64", Accelerator("tcg", "test", 1.0), "/vmlinux", "/initramfs", 1, 128 << 20)
    child = Child.start(["sleep", "60"], [])
    vm = VirtualMachine(spec, child, pair[0], Monitor(pair[1], "box"), str(tmp_path / "boot.log"))
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            child.send(signal.SIGKILL)
            await vm.wait()
            await asyncio.sleep(0)

    with pytest.raises(ContainerError, match="waiting failed: QEMU was ended by SIGKILL"):
        await vm.guard(work(), doing="waiting", deadline=0.05)
    await child.close()
    assert not wrong
