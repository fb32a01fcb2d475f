"""A running container in its machine: exec, streams, terminals, detaching, what it costs."""

import asyncio
import hashlib
import os
import pty
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from support.rig import Rig, drain

from container.api.runtime import Runtime
from container.errors import ContainerError, ErrorCode
from container.model.process import User, WindowSize

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    return Rig(tmp_path_factory.mktemp("rig"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(rig):
    async with rig.running("box", ["sh", "-c", "echo one; echo two >&2; exec sleep 100000"]) as helper:
        yield helper
        await helper.stop(9)


async def test_exec_has_its_own_streams_and_exit_code(box):
    assert await box.exec("sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert await box.exec("sh", "-c", "kill -9 $$") == (137, "", "")


async def test_exec_reads_its_input_to_the_end(box):
    assert await box.exec("cat", stdin=b"through\n") == (0, "through\n", "")


async def test_what_cannot_run_has_the_shells_codes_and_a_text(box):
    missing = await box.exec("no-such-program")
    denied = await box.exec("/etc/passwd")
    assert (missing[0], denied[0]) == (127, 126)
    assert missing[2].startswith("Error: ")
    assert "no-such-program" in missing[2]
    with pytest.raises(ContainerError, match="no-such-program"):
        await drain(box.exec_stream(["no-such-program"], wait=False))


async def test_exec_takes_user_directory_and_environment(box):
    changes = {"user": User(raw="nobody:staff"), "working_directory": "/tmp", "environment": ["PATH=/bin", "X=1"]}
    code, out, _ = await box.exec("sh", "-c", "id -u; id -g; pwd; echo $X", **changes)
    assert (code, out.split()) == (0, ["65534", "50", "/tmp", "1"])


async def test_output_of_the_init_process_is_logged_and_that_of_execs_is_not(box):
    await box.exec("echo", "unlogged")
    assert sorted(box.log()) == [("stderr", "two\n"), ("stdout", "one\n")]


async def test_a_signal_reaches_an_exec_process(box):
    async with box.exec_stream(["sleep", "1000"]) as events:
        async for event in events:
            if event.started:
                await box.client.call(Runtime.Signal, process=event.process, signal=15)
            code = event.exit_code
    assert code == 143


async def test_unknown_processes_are_not_found(box):
    with pytest.raises(ContainerError) as caught:
        await box.client.call(Runtime.Signal, process="nobody", signal=15)
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_a_terminal_has_the_callers_size_follows_it_and_merges_output(box):
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    os.system(f"stty rows 30 cols 100 raw -echo < {os.ttyname(theirs)}")
    script = "stty size; echo err >&2; read line; stty size; exit 5"
    async with box.exec_stream(["sh", "-c", script], streams=(theirs, theirs, None), terminal=True) as events:
        async for event in events:
            if event.started:
                text = await _read_until(ours, "err")
                assert "30 100" in text
                await box.client.call(Runtime.Resize, process=event.process, size=WindowSize(120, 40))
                os.write(ours, b"\r")
            code = event.exit_code
    assert code == 5
    assert "40 120" in await _read_until(ours, "40 120")
    os.close(ours)
    os.close(theirs)


async def _read_until(fd, text):
    seen = ""
    async with asyncio.timeout(20):
        while text not in seen:
            try:
                seen += os.read(fd, 4096).decode()
            except BlockingIOError:
                await asyncio.sleep(0.02)
    return seen


async def test_a_caller_that_hangs_up_detaches(box):
    ours, theirs = os.pipe()
    source, feed = os.pipe()
    script = "cat; echo gone on > /detached; exec sleep 1000"
    async with box.exec_stream(["sh", "-c", script], streams=(source, theirs, None)) as events:
        async for event in events:
            if event.started:
                break
        os.write(feed, b"hello\n")
        assert await asyncio.to_thread(os.read, ours, 100) == b"hello\n"
    os.close(theirs)
    assert await asyncio.to_thread(os.read, ours, 100) == b""  # nobody holds the other end any more
    async with asyncio.timeout(20):
        while (await box.exec("cat", "/detached"))[1] != "gone on\n":
            await asyncio.sleep(0.1)
    for fd in (ours, source, feed):
        os.close(fd)


async def test_a_hundred_megabytes_come_out_and_go_in_to_the_byte(box):
    size = 100_000_000
    data = (b"abcdefghijklmno\n" * (size // 16 + 1))[:size]
    begin = time.monotonic()
    code, out, _ = await box.exec("sh", "-c", f"yes abcdefghijklmno | head -c {size}")
    print(f"out: {size / 1e6 / (time.monotonic() - begin):.0f} MB/s")
    assert code == 0
    assert hashlib.sha256(out.encode()).digest() == hashlib.sha256(data).digest()
    begin = time.monotonic()
    code, out, _ = await box.exec("sha256sum", stdin=data)
    print(f"in: {size / 1e6 / (time.monotonic() - begin):.0f} MB/s")
    assert out.split()[0] == hashlib.sha256(data).hexdigest()


async def test_one_slow_reader_does_not_block_another(box):
    ours, theirs = os.pipe()
    async with box.exec_stream(["yes"], streams=(None, theirs, None)):
        async with asyncio.timeout(30):
            assert await box.exec("echo", "quick") == (0, "quick\n", "")
    os.close(ours)
    os.close(theirs)


async def test_an_idle_helper_is_small_and_still(box):
    # A fresh one: the box has had hundreds of megabytes through.
    async with box.rig.running("idle", ["sleep", "100000"]) as idle:
        await asyncio.sleep(1)
        rollup = Path(f"/proc/{idle.process.pid}/smaps_rollup").read_text().splitlines()
        private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
        stat = Path(f"/proc/{idle.process.pid}/stat")
        for _ in range(12):  # on a loaded machine the boot has its aftermath
            before = _ticks(stat), _switches(idle.process.pid)
            await asyncio.sleep(5)
            after = _ticks(stat), _switches(idle.process.pid)
            if after[1] - before[1] <= 5:
                break
        print(f"private memory: {private / 1024:.1f} MB; {after[1] - before[1]} wake-ups in 5 s")
        assert private <= 25 * 1024
        assert after[0] - before[0] <= 1
        assert after[1] - before[1] <= 5
        await idle.stop(9)


def _ticks(stat):
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _switches(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


async def test_the_guests_clock_is_the_hosts(box):
    before = time.time()
    _, out, _ = await box.exec("sh", "-c", "touch /now; stat -c %y /now")
    after = time.time()
    moment = datetime.fromisoformat(out.strip()[:26]).replace(tzinfo=UTC).timestamp()
    assert before - 1 < moment < after + 1
