"""Processes that are not root, in real containers made by the real agent: what is theirs, and what is not."""

from pathlib import Path

import pytest

from container.guest.process import GuestError
from container.guest.spec import ContainerSpec, RootfsSpec
from container.guest.streams import relay
from container.model.container import Device
from container.model.process import User

from .conftest import Connect, output_of, process
from .test_agent_container_serial import running

pytestmark = pytest.mark.timeout(60)
APP = User(uid=1000, gid=1001)


@pytest.mark.parametrize("first", [True, False], ids=["init", "exec"])
async def test_a_process_opens_its_standard_streams_again(isolated: Connect, busybox_root: Path, first: bool) -> None:
    script = "head -n 1 /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr; echo fd > /proc/self/fd/1"
    chunks: list[bytes] = []
    if first:
        async with isolated() as client:
            await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
            spec = ContainerSpec(hostname="test")
            started = await client.start_init("c", process("sh", "-c", script, user=APP), spec, stdin=True)
            assert started.stdin is not None
            await started.stdin.write(b"in\n")
            assert await relay(started, tee=lambda data, _: chunks.append(data)) == 0
    else:
        async with running(isolated, busybox_root) as (client, _):
            started = await client.start_exec("e", process("sh", "-c", script, user=APP), stdin=True)
            assert started.stdin is not None
            await started.stdin.write(b"in\n")
            assert await relay(started, tee=lambda data, _: chunks.append(data)) == 0
    assert sorted(b"".join(chunks).splitlines()) == [b"err", b"fd", b"in", b"out"]


async def test_streams_of_a_process_are_nobody_elses(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root, user=APP) as (client, _):
        assert await output_of(client, "sh", "-c", "echo late > /proc/1/fd/1", user=APP) == (0, "")
        for user in (User(uid=1002, gid=1001), User(uid=65534, gid=65534)):
            code, text = await output_of(client, "sh", "-c", "echo mine > /proc/1/fd/1", user=user)
            assert code == 1
            assert "Permission denied" in text
        show = "stat -L -c %u:%a /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /dev/null"
        # without a standard input there is /dev/null, which stays root's
        assert await output_of(client, "sh", "-c", show, user=APP) == (0, "0:666\n1000:600\n1000:600\n0:666\n")


async def test_a_working_directory_need_not_be_one_that_the_user_may_enter(
    isolated: Connect, busybox_root: Path
) -> None:
    where: dict[str, object] = {"user": APP, "working_directory": "/secret/inner"}
    async with running(isolated, busybox_root, working_directory="/secret/inner") as (client, _):
        assert await output_of(client, "chmod", "0700", "/secret", "/secret/inner") == (0, "")
        assert await output_of(client, "sh", "-c", "id -u", **where) == (0, "1000\n")
        code, text = await output_of(client, "ls", **where)
        assert (code, "Permission denied" in text) == (1, True)
        assert (await output_of(client, "sh", "-c", "cd /secret", user=APP))[0] != 0
    async with isolated() as client:
        await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        started = await client.start_init("c", process("id", "-u", **where), ContainerSpec(hostname="test"))
        assert await relay(started, tee=lambda data, _: None) == 0


async def test_no_descriptor_of_the_agent_is_a_way_out(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        for number in range(3, 24):
            for user in (User(uid=0, gid=0), APP):
                with pytest.raises(GuestError, match="failed to enter the working directory /proc/self/fd"):
                    await output_of(client, "pwd", working_directory=f"/proc/self/fd/{number}", user=user)
            with pytest.raises(GuestError, match="failed to run /proc/self/fd"):
                await output_of(client, f"/proc/self/fd/{number}/bin/busybox")


async def test_devices_that_were_asked_for_are_made_and_no_others(isolated: Connect, busybox_root: Path) -> None:
    spec = ContainerSpec(
        hostname="test", devices=[Device("/dev/null", "/srv/nothing"), Device("/dev/zero", "/dev/zero")]
    )
    async with running(isolated, busybox_root, spec) as (client, _):
        script = "echo x > /srv/nothing && stat -c %t:%T:%a /srv/nothing"
        assert await output_of(client, "sh", "-c", script, user=APP) == (0, "1:3:666\n")
    for device in (Device("/dev/ptmx", "/dev/x"), Device("/dev/kmsg", "/dev/kmsg"), Device("/proc/kmsg", "/x")):
        with pytest.raises(GuestError, match=f"no device {device.source} for containers"):
            async with running(isolated, busybox_root, ContainerSpec(hostname="test", devices=[device])):
                pass
    taken = ContainerSpec(hostname="test", devices=[Device("/dev/null", "/etc/passwd")])
    with pytest.raises(GuestError, match="failed to make the device /etc/passwd: File exists"):
        async with running(isolated, busybox_root, taken):
            pass
