"""Starts and ends of a container in its machine: what is kept, what is told, what is left."""

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from support.rig import Rig, drain

from container.api.runtime import Runtime
from container.errors import ContainerError, ErrorCode
from container.model.mount import Mount

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    return Rig(tmp_path_factory.mktemp("rig"))


def alive(pid):
    return Path(f"/proc/{pid}").exists()


async def gone(pid):
    async with asyncio.timeout(10):
        while alive(pid):
            await asyncio.sleep(0.02)


async def test_a_run_prints_ends_with_its_code_keeps_its_disk_and_leaves_nothing(rig):
    script = 'echo "$@" >> /kept; cat /kept; echo e >&2; exit $(wc -l < /kept)'
    async with rig.helper("kept") as helper:
        assert await helper.run(["sh", "-c", script, "-", "first"]) == (1, "first\n", "e\n")
        assert await helper.ended() == 0
    assert (helper.status()["state"], helper.status()["exitCode"]) == ("stopped", 1)
    assert set(helper.log()) == {("stdout", "first\n"), ("stderr", "e\n")}
    async with rig.helper("kept") as helper:
        assert await helper.run(["sh", "-c", script, "-", "second"]) == (2, "first\nsecond\n", "e\n")
        assert await helper.ended() == 0
    assert ("stdout", "second\n") in helper.log()
    assert len(helper.log()) == 3
    assert os.listdir(rig.roots.run) == []
    steps = json.loads((helper.bundle / "timeline.json").read_text())
    print("\n".join(f"{seconds:8.3f} {step}" for step, seconds in steps))
    assert [step for step, _ in steps][-1] == "cleaned up"


async def test_the_containers_surroundings_are_as_configured(rig):
    script = """
        cat /etc/hostname /etc/hosts; cat /proc/sys/vm/max_map_count /proc/sys/net/core/somaxconn
        touch /new 2>/dev/null || echo refused; touch /scratch/new && echo written
        grep -c '/scratch.*size=1024k' /proc/mounts; grep -c '/dev/shm.*size=2048k' /proc/mounts
        grep CapEff /proc/self/status; cat /proc/kcore | wc -c; cat /sys/fs/cgroup/memory.max
        touch /proc/sysrq-trigger 2>/dev/null || echo protected
    """
    changes = {
        "read_only": True,
        "mounts": [Mount("tmpfs", "tmpfs", "/scratch", ["size=1m"])],
        "shm_size": 2 << 20,
        "sysctls": {"net.core.somaxconn": "77"},
        "cap_drop": ["ALL"],
        "cap_add": ["CAP_CHOWN"],
    }
    async with rig.helper("around.example") as helper:
        code, out, err = await helper.run(["sh", "-c", script], **changes)
    print(err)
    assert code == 0
    assert out.splitlines() == [
        *("around", "127.0.0.1 localhost", "262144", "77", "refused", "written", "1", "1"),
        *("CapEff:\t0000000000000001", "0", str(200 << 20), "protected"),
    ]


async def test_a_program_that_is_not_there_is_127(rig):
    async with rig.helper("missing") as helper:
        code, _, err = await helper.run(["no-such-program"])
        assert code == 127
        assert err.startswith("Error: ")
        assert await helper.ended() == 0
    assert helper.status()["exitCode"] == 127


async def test_a_process_that_ignores_the_stop_signal_is_killed(rig):
    script = "trap 'echo got it' TERM; echo ready; while :; do sleep 0.1; done"
    async with rig.running("stubborn", ["sh", "-c", script]) as helper:
        while ("stdout", "ready\n") not in helper.log():
            await asyncio.sleep(0.05)
        watching = asyncio.create_task(drain(helper.client.stream(Runtime.Watch)))
        await helper.stop(15, 1)
        assert await helper.ended() == 0
        assert [status.state.value for status in await watching][-1] == "stopped"
    assert helper.status()["exitCode"] == 137
    assert ("stdout", "got it\n") in helper.log()


async def test_terminating_the_helper_stops_the_container(rig):
    async with rig.running("terminated", ["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done"]) as helper:
        await asyncio.sleep(0.5)
        helper.process.terminate()
        assert await helper.ended() == 0
    assert helper.status()["exitCode"] == 9


async def test_a_killed_machine_is_told_with_its_reason(rig):
    async with rig.running("killed", ["sleep", "1000"]) as helper:
        executing = asyncio.create_task(helper.exec("sleep", "1000"))
        await asyncio.sleep(0.5)
        os.kill(helper.qemu(), signal.SIGKILL)
        assert await helper.ended() == 0
        with pytest.raises(ContainerError) as caught:
            await executing
        assert caught.value.code is ErrorCode.INTERRUPTED
    assert helper.status()["state"] == "stopped"
    assert "SIGKILL" in helper.status()["reason"]


async def test_a_killed_helper_takes_its_machine_along(rig):
    async with rig.running("orphan", ["sleep", "1000"]) as helper:
        children = helper.children()
        helper.process.kill()
        for pid in children:
            await gone(pid)
    assert not (helper.bundle / "status.json").exists()


async def test_a_kernel_that_panics_is_told_with_its_last_words(rig):
    async with rig.helper("panic") as helper:
        with pytest.raises(ContainerError) as caught:
            await helper.run(["true"], kernel_arguments=["rdinit=/nope", "init=/nope"])
        assert await helper.ended() == 0
    assert "panic" in caught.value.describe()
    assert "panic" in helper.status()["reason"]


async def test_memory_that_ran_out_is_told(rig):
    async with rig.helper("hungry") as helper:
        code, _, _ = await helper.run(["tail", "/dev/zero"])
        assert code == 137
        assert await helper.ended() == 0
    assert "memory" in helper.status()["reason"]


async def test_a_machine_that_hangs_is_switched_off(rig):
    async with rig.running("frozen", ["sleep", "1000"]) as helper:
        os.kill(helper.qemu(), signal.SIGSTOP)
        begin = time.monotonic()
        await helper.stop(15, 1)
        assert time.monotonic() - begin < 20
        assert await helper.ended() == 0
    assert helper.status()["exitCode"] == 137
    assert "switched off" in helper.status()["reason"]


async def test_a_hundred_megabytes_are_logged_and_come_out_to_the_byte(rig):
    size = 100_000_000
    async with rig.helper("loud") as helper:
        begin = time.monotonic()
        code, out, _ = await helper.run(["sh", "-c", f"yes abcdefghijklmno | head -c {size}"])
        await helper.ended()
    steps = dict(json.loads((helper.bundle / "timeline.json").read_text()))
    print(f"out, logged: {size / 1e6 / (steps['process ended'] - steps['process started']):.0f} MB/s")
    assert code == 0
    assert len(out) == size
    assert out == ("abcdefghijklmno\n" * (size // 16 + 1))[:size]
    logs = [helper.bundle / name for name in ("stdio.log.2", "stdio.log.1", "stdio.log")]
    assert all(log.stat().st_size <= 10 << 20 for log in logs)
    assert helper.log()[-1] == ("stdout", "abcdefghijklmno\n")
    assert time.monotonic() - begin < 120


async def test_stopping_a_container_that_boots_is_quick(rig):
    async with rig.helper("hasty") as helper:
        starting = asyncio.create_task(helper.run(["true"]))
        while not helper.children():
            await asyncio.sleep(0.01)
        begin = time.monotonic()
        await helper.stop(15, 60)
        assert time.monotonic() - begin < 5
        assert (await starting)[0] == 143
        assert await helper.ended() == 0


async def test_errors_before_the_boot_start_no_machine(rig):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        from container.model.network import AttachmentConfiguration, AttachmentOptions
        from container.model.port import PublishPort

        port = PublishPort("127.0.0.1", taken.getsockname()[1], 80)
        networks = [AttachmentConfiguration("default", AttachmentOptions("box"))]
        async with rig.helper("ports") as helper:
            with pytest.raises(ContainerError, match=str(port.host_port)):
                await helper.run(["true"], published_ports=[port], networks=networks)
            assert await helper.ended() == 0
    assert not (helper.bundle / "boot.log").exists()


async def test_a_slow_reader_gets_everything_before_the_end_is_told(rig):
    ours, theirs = os.pipe()
    size = 1_000_000
    async with rig.helper("slow") as helper:
        script = f"yes | head -c {size}"
        stream = helper.start_stream(["sh", "-c", script], streams=(None, theirs, None))
        ending = asyncio.create_task(drain(stream))
        await asyncio.sleep(0.5)
        os.close(theirs)
        seen = 0
        while data := await asyncio.to_thread(os.read, ours, 65536):
            seen += len(data)
            await asyncio.sleep(0.01)
        assert (await ending)[-1].exit_code == 0
        assert seen == size
        assert await helper.ended() == 0
    os.close(ours)
