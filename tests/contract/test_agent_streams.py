"""Streams through the real agent: right to the byte, flow-controlled, fast."""

import asyncio
import hashlib
import os
import threading
import time

import pytest

from container.errors import ContainerError, ErrorCode
from container.guest.client import GuestClient
from container.guest.spec import ContainerSpec
from container.guest.streams import Relay, relay
from container.model.process import WindowSize

from .conftest import Connect, process

SPEC = ContainerSpec(hostname="test")
SIZE = 100 << 20


async def test_hello_tells_version_and_kernel(plain: Connect) -> None:
    async with plain() as client:
        assert client.info.version == 1
        assert client.info.kernel == os.uname().release
        assert client.info.boot_id


async def test_output_and_exit_code_arrive(plain: Connect) -> None:
    seen: list[tuple[bytes, str]] = []
    async with plain() as client:
        started = await client.start_init("p", process("sh", "-c", "echo out; echo err >&2; exit 7"), SPEC)
        assert started.pid > 0
        assert await relay(started, tee=lambda data, name: seen.append((data, name))) == 7
    assert sorted(seen) == [(b"err\n", "stderr"), (b"out\n", "stdout")]


async def test_a_process_killed_by_a_signal_exits_with_128_plus_its_number(plain: Connect) -> None:
    async with plain() as client:
        started = await client.start_init("p", process("sleep", "60"), SPEC)
        await started.signal(15)
        assert await started.wait() == 143
        with pytest.raises(ContainerError) as caught:
            await started.signal(15)
        assert caught.value.code is ErrorCode.NOT_FOUND


async def test_100_mb_of_output_are_right_to_the_byte_and_fast(plain: Connect) -> None:
    digest, count = hashlib.sha256(), 0

    def tee(data: bytes, _: str) -> None:
        nonlocal count
        count += len(data)
        digest.update(data)

    command = f"head -c {SIZE} /dev/zero"
    async with plain() as client:
        begin = time.monotonic()
        started = await client.start_init("p", process("sh", "-c", command), SPEC)
        assert await relay(started, tee=tee) == 0
        speed = SIZE / (time.monotonic() - begin) / 1e6
    assert count == SIZE
    assert digest.digest() == hashlib.sha256(bytes(SIZE)).digest()
    assert speed > 20, f"{speed:.0f} MB/s"


async def test_100_mb_through_stdin_and_back_are_right_to_the_byte(plain: Connect) -> None:
    data = os.urandom(1 << 20) * 100
    read_in, write_in = os.pipe()
    read_out, write_out = os.pipe()
    received = hashlib.sha256()

    def feed() -> None:
        with open(write_in, "wb") as pipe:
            pipe.write(data)

    def take() -> None:
        while chunk := os.read(read_out, 1 << 16):
            received.update(chunk)

    threads = [threading.Thread(target=feed), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    async with plain() as client:
        started = await client.start_init("p", process("cat"), SPEC, stdin=True)
        assert await relay(started, stdin=read_in, stdout=write_out) == 0
    os.close(write_out)
    os.close(read_in)
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    os.close(read_out)
    assert received.digest() == hashlib.sha256(data).digest()


async def test_one_slow_reader_does_not_block_another_process(plain: Connect) -> None:
    async with plain() as client:
        stuck = await client.start_init("stuck", process("cat", "/dev/zero"), SPEC)
        await asyncio.sleep(0.2)
        other = await client.start_exec("other", process("sh", "-c", f"head -c {SIZE // 10} /dev/zero"))
        count = 0

        def tee(data: bytes, _: str) -> None:
            nonlocal count
            count += len(data)

        assert await asyncio.wait_for(relay(other, tee=tee), 20) == 0
        assert count == SIZE // 10
        await stuck.signal(9)
        assert await stuck.wait() == 137


async def test_end_of_file_on_stdin_reaches_the_process(plain: Connect) -> None:
    async with plain() as client:
        started = await client.start_init("p", process("wc", "-c"), SPEC, stdin=True)
        assert started.stdin is not None
        assert started.stdout is not None
        await started.stdin.write(b"abc")
        await started.stdin.write_eof()
        assert await started.stdout.read() == b"3\n"
        assert await started.stdout.read() == b""
        assert await started.wait() == 0


async def test_a_process_that_closes_its_stdin_stops_the_writer(plain: Connect) -> None:
    async with plain() as client:
        started = await client.start_init("p", process("sh", "-c", "exec 0<&-; exec sleep 60"), SPEC, stdin=True)
        assert started.stdin is not None
        with pytest.raises(ContainerError, match="Broken pipe"):
            await started.stdin.write(bytes(100 << 20))
        await started.signal(9)
        assert await started.wait() == 137


async def test_the_exit_is_told_though_a_grandchild_holds_the_output(plain: Connect) -> None:
    chunks: list[bytes] = []
    async with plain() as client:
        begin = time.monotonic()
        command = "echo first; (sleep 3; echo late; sleep 1) & echo second"
        started = await client.start_init("p", process("sh", "-c", command), SPEC)
        assert await relay(started, tee=lambda data, _: chunks.append(data)) == 0
        assert time.monotonic() - begin < 2
    assert b"".join(chunks) == b"first\nsecond\n"


async def test_a_process_without_streams_has_dev_null(plain: Connect) -> None:
    async with plain() as client:
        command = 'test "$(readlink /proc/self/fd/0)" = /dev/null'
        started = await client.start_init("p", process("sh", "-c", command), SPEC, stdout=False, stderr=False)
        assert await relay(started) == 0


async def test_a_terminal_has_size_echo_and_end_of_file(plain: Connect) -> None:
    chunks: list[bytes] = []
    read_in, write_in = os.pipe()
    async with plain() as client:
        command = "stty size; test -t 0 -a -t 1 -a -t 2 && echo tty; echo $TERM; cat"
        started = await client.start_init(
            "p",
            process("sh", "-c", command, terminal=True),
            SPEC,
            stdin=True,
            size=WindowSize(columns=91, rows=17),
        )
        os.write(write_in, b"typed\n")
        os.close(write_in)
        code = await asyncio.wait_for(relay(started, stdin=read_in, tee=lambda data, _: chunks.append(data)), 20)
    os.close(read_in)
    text = b"".join(chunks).decode()
    assert code == 0
    assert "17 91\r\ntty\r\nxterm\r\n" in text.replace("typed\r\n", "")
    assert text.count("typed\r\n") == 2  # the echo and cat's


async def test_a_terminal_is_resized_and_its_process_told(plain: Connect) -> None:
    async with plain() as client:
        command = "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done"
        started = await client.start_init("p", process("sh", "-c", command, terminal=True), SPEC)
        assert started.stdout is not None
        assert await started.stdout.read() == b"ready\r\n"
        await started.resize(WindowSize(columns=100, rows=50))
        assert await started.stdout.read() == b"50 100\r\n"
        assert await started.wait() == 3


async def test_a_detached_relay_leaves_the_descriptors_and_goes_on_with_the_tee(plain: Connect) -> None:
    chunks: list[bytes] = []
    read_out, write_out = os.pipe()
    async with plain() as client:
        command = "echo one; read line; echo two"
        started = await client.start_init("p", process("sh", "-c", command), SPEC, stdin=True)
        read_in, write_in = os.pipe()
        running = Relay(started, stdin=read_in, stdout=write_out, tee=lambda data, _: chunks.append(data))
        task = asyncio.ensure_future(running.run())
        assert await asyncio.to_thread(os.read, read_out, 100) == b"one\n"
        running.detach()
        assert await asyncio.wait_for(task, 20) == 0
    for fd in (write_out, read_in, write_in):
        os.close(fd)
    assert os.read(read_out, 100) == b""
    os.close(read_out)
    assert b"".join(chunks) == b"one\ntwo\n"


async def test_a_slow_reader_gets_all_after_the_guest_is_drained(plain: Connect) -> None:
    read_out, write_out = os.pipe()
    async with plain() as client:
        started = await client.start_init("p", process("head", "-c", "300000", "/dev/zero"), SPEC)
        running = Relay(started, stdout=write_out)
        task = asyncio.ensure_future(running.run())
        await asyncio.wait_for(running.drained.wait(), 20)
        assert not task.done()
        reader = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read_out, 65536), b"")])
        reader.start()
        assert await asyncio.wait_for(task, 20) == 0
    os.close(write_out)
    await asyncio.to_thread(reader.join)
    os.close(read_out)


async def test_the_end_of_the_channel_fails_what_waits(plain: Connect) -> None:
    async with plain() as client:
        started = await client.start_init("p", process("sleep", "60"), SPEC)
        await client.shutdown()
        with pytest.raises(ContainerError) as caught:
            await asyncio.wait_for(_second_life(client, started), 20)
        assert caught.value.code is ErrorCode.INTERRUPTED


async def _second_life(client: GuestClient, started: object) -> None:
    while True:
        await client.statistics()
