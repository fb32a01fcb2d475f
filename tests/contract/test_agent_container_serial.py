"""Real containers made by the real agent on this machine (namespaces, overlay, devices): needs root."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.guest.client import GuestClient
from container.guest.process import GuestError, GuestProcess
from container.guest.spec import ContainerSpec, FileSpec, RootfsSpec
from container.guest.streams import relay
from container.model.mount import Mount
from container.model.process import User

from .conftest import Connect, output_of, process, rlimit


@asynccontextmanager
async def running(
    isolated: Connect, root: Path, spec: ContainerSpec | None = None, **more: object
) -> AsyncIterator[tuple[GuestClient, GuestProcess]]:
    """A container whose init process sleeps."""
    async with isolated() as client:
        await client.mount_rootfs(RootfsSpec(directory=str(root), upper=None))
        init = process("sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done", **more)  # type: ignore[arg-type]
        started = await client.start_init("c", init, spec or ContainerSpec(hostname="test"))
        assert started.stdout is not None
        assert await started.stdout.read() == b"ready\n"  # a PID 1 ignores signals that it does not handle yet
        yield client, started
        if started.exit_code is None:
            await started.signal(9)
            assert await started.wait() == 137


async def test_the_container_sees_only_itself(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        assert await output_of(client, "hostname") == (0, "test\n")
        code, text = await output_of(client, "ps", "-o", "pid,comm")
        assert code == 0
        assert next(line.split()[0] for line in text.splitlines()[1:]) == "1"
        assert len(text.splitlines()) <= 4
        code, text = await output_of(client, "cat", "/proc/mounts")
        assert [line.split()[1] for line in text.splitlines()][:3] == ["/", "/proc", "/sys"]
        assert str(busybox_root) not in "".join(line.split()[1] for line in text.splitlines())
        assert await output_of(client, "sh", "-c", "ls /proc/1/fd | wc -l") == (0, "3\n")
        code, text = await output_of(client, "sh", "-c", "cat /proc/self/cgroup")
        assert all(line.endswith(":/") for line in text.splitlines())


async def test_devices_are_the_usual_ones_and_writable_by_all(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        code, text = await output_of(client, "sh", "-c", "ls -1 /dev | tr '\n' ' '")
        names = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
        assert (code, text.split()) == (0, names.split())
        assert await output_of(client, "stat", "-c", "%a", "/dev/null", "/dev/shm", "/tmp") == (0, "666\n1777\n755\n")
        assert (await output_of(client, "sh", "-c", "echo x > /dev/full"))[0] == 1
        assert (await output_of(client, "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=65"))[0] == 1


async def test_masked_and_read_only_paths_hold(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        assert await output_of(client, "sh", "-c", "cat /proc/keys 2>/dev/null | wc -c; ls /sys/firmware | wc -l") == (
            0,
            "0\n0\n",
        )
        assert (await output_of(client, "sh", "-c", "echo 1 > /proc/sys/vm/overcommit_memory"))[0] == 1
        assert (await output_of(client, "sh", "-c", "echo x > /sys/kernel/uevent_helper"))[0] == 1
    spec = ContainerSpec(hostname="test", masked_paths=[], readonly_paths=["/etc"], sysctls={"kernel.msgmax": "4096"})
    async with running(isolated, busybox_root, spec) as (client, _):
        assert await output_of(client, "cat", "/proc/sys/kernel/msgmax") == (0, "4096\n")
        code, text = await output_of(client, "touch", "/etc/x")
        assert code == 1
        assert "Read-only" in text


async def test_capabilities_are_the_default_14_or_as_asked(isolated: Connect, busybox_root: Path) -> None:
    show = ("grep", "-E", "^Cap(Prm|Bnd|Amb)|NoNew", "/proc/self/status")
    async with running(isolated, busybox_root) as (client, _):
        _, text = await output_of(client, *show)
        assert text.split()[1::2] == ["00000000a80425fb", "00000000a80425fb", "0000000000000000", "0"]
        _, text = await output_of(client, *show, user=User(uid=1000, gid=1000))
        assert text.split()[:4] == ["CapPrm:", "0000000000000000", "CapBnd:", "00000000a80425fb"]
        assert (await output_of(client, "hostname", "other"))[0] == 1
    spec = ContainerSpec(hostname="test", capabilities=["CAP_CHOWN", "CAP_SYS_ADMIN"], no_new_privileges=True)
    async with running(isolated, busybox_root, spec) as (client, _):
        _, text = await output_of(client, *show)
        assert text.split()[1::2] == ["0000000000200001", "0000000000200001", "0000000000000000", "1"]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (User(raw="app"), "1000 1001 33 44 1001 /home/app"),
        (User(raw="app:web"), "1000 33 33 /home/app"),
        (User(raw="1000"), "1000 1001 33 44 1001 /home/app"),
        (User(raw="1000:7"), "1000 7 7 /home/app"),
        (User(raw="4242"), "4242 0 0 /"),
        (User(raw=":33"), "0 33 33 /root"),
        (User(uid=1000, gid=5), "1000 5 5 /home/app"),
        (User(uid=0, gid=0), "0 0 0 /root"),
    ],
)
async def test_users_are_resolved_in_the_container(
    isolated: Connect, busybox_root: Path, user: User, expected: str
) -> None:
    command = "echo $(id -u) $(id -g) $(id -G | tr ' ' '\n' | sort -n) $HOME"
    async with running(isolated, busybox_root) as (client, _):
        code, text = await output_of(client, "sh", "-c", command, user=user)
        uid, gid, *groups, home = text.split()
        assert code == 0
        assert [uid, gid, *sorted(groups, key=int), home] == _sorted_groups(expected)


def _sorted_groups(text: str) -> list[str]:
    uid, gid, *groups, home = text.split()
    return [uid, gid, *sorted(groups, key=int), home]


async def test_an_unknown_user_or_group_fails_the_start(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        with pytest.raises(GuestError, match="unable to find user nobody-here"):
            await output_of(client, "true", user=User(raw="nobody-here"))
        with pytest.raises(GuestError, match="unable to find group nogroup"):
            await output_of(client, "true", user=User(raw="app:nogroup"))


async def test_programs_that_cannot_run_are_told_apart(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        for command, code in (("nothing", 127), ("/bin/nothing", 127), ("plain", 126), ("script", 126), ("/tmp", 126)):
            with pytest.raises(GuestError) as caught:
                await output_of(client, command)
            assert caught.value.exit_code == code, command


async def test_environment_defaults_and_working_directory_are_made(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root, working_directory="/srv/new/dir") as (client, _):
        code, text = await output_of(client, "env", env=["A=b c"])
        assert code == 0
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        assert sorted(text.splitlines()) == ["A=b c", "HOME=/root", path]
        assert await output_of(client, "pwd", working_directory="/srv/new/dir") == (0, "/srv/new/dir\n")
        with pytest.raises(GuestError, match="working directory /srv/other"):
            await output_of(client, "pwd", working_directory="/srv/other")
    assert not (busybox_root / "srv").exists()


async def test_rlimits_hold(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        limits = [rlimit("RLIMIT_NOFILE", 99, 100), rlimit("RLIMIT_CORE", 2**64 - 1, 2**64 - 1)]
        command = ("sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c")
        assert await output_of(client, *command, rlimits=limits) == (0, "99\n100\nunlimited\n")
        with pytest.raises(GuestError, match="unknown resource limit RLIMIT_NO"):
            await output_of(client, "true", rlimits=[rlimit("RLIMIT_NO", 1, 1)])


async def test_files_are_written_whatever_links_the_image_has(isolated: Connect, busybox_root: Path) -> None:
    async with isolated() as client:
        await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        await client.write_files(
            [
                FileSpec("/etc/hosts", "127.0.0.1 localhost\n"),
                FileSpec("/etc/resolv.conf", "nameserver 192.168.64.1\n"),
                FileSpec("/new/dir/file", "é\n", mode=0o600),
                FileSpec("/../../outside", "in\n"),
            ]
        )
        spec = ContainerSpec(hostname="test", read_only=True)
        command = "cat /etc/hosts /etc/resolv.conf /new/dir/file /outside; stat -c %a /new/dir/file; touch /x"
        started = await client.start_init("c", process("sh", "-c", command), spec)
        chunks: list[bytes] = []
        assert await relay(started, tee=lambda data, name: chunks.append(data) if name == "stdout" else None) == 1
        text = "127.0.0.1 localhost\nnameserver 192.168.64.1\né\nin\n600\n"
        assert b"".join(chunks).decode() == text
    assert not Path("/outside").exists()


async def test_own_mounts_are_made(isolated: Connect, busybox_root: Path) -> None:
    mounts = [
        Mount("tmpfs", "tmpfs", "/data/deep", ["size=1m", "mode=0700", "noexec"]),
        Mount("tmpfs", "tmpfs", "/run", []),
    ]
    async with running(isolated, busybox_root, ContainerSpec(hostname="test", mounts=mounts)) as (client, _):
        code, text = await output_of(client, "grep", "tmpfs /data/deep", "/proc/mounts")
        assert code == 0
        assert "noexec" in text
        assert "size=1024k" in text
        assert await output_of(client, "stat", "-c", "%a", "/data/deep", "/run") == (0, "700\n1777\n")
    bad = ContainerSpec(hostname="test", mounts=[Mount("nfs", "x", "/x", [])])
    with pytest.raises(ContainerError, match="mounts of kind nfs are not supported"):
        async with running(isolated, busybox_root, bad):
            pass


async def test_a_terminal_is_the_containers_console(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        command = "tty; ls -l /proc/self/fd/0; stat -c %u $(tty); echo $TERM"
        user = User(raw="app")
        code, text = await output_of(client, "sh", "-c", command, terminal=True, user=user)
        assert code == 0
        assert text.splitlines()[0] == "/dev/pts/0"
        assert text.splitlines()[2:] == ["1000", "xterm"]
    async with isolated() as client:
        await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        started = await client.start_init(
            "c", process("sh", "-c", "echo on-console > /dev/console", terminal=True), ContainerSpec(hostname="test")
        )
        chunks: list[bytes] = []
        assert await relay(started, tee=lambda data, _: chunks.append(data)) == 0
        assert chunks == [b"on-console\r\n"]


async def test_the_small_init_reaps_forwards_and_exits_as_its_child(isolated: Connect, busybox_root: Path) -> None:
    spec = ContainerSpec(hostname="test", use_init=True)
    async with isolated() as client:
        await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        command = "trap 'exit 9' USR1; echo $$; (sleep 0.1 &) ; while :; do sleep 0.1; done"
        started = await client.start_init("c", process("sh", "-c", command), spec)
        assert started.stdout is not None
        assert await started.stdout.read() == b"2\n"
        # The shell's own children are zombies for a moment: look until there is none.
        count = "for i in $(seq 20); do n=$(ps -o pid,stat | grep -c Z); [ $n = 0 ] && break; sleep 0.1; done; echo $n"
        code, text = await output_of(client, "sh", "-c", f"{count}; readlink /proc/1/fd/0")
        assert (code, text) == (1, "0\n")
        await started.signal(10)
        assert await started.wait() == 9


async def test_the_small_init_reports_what_cannot_run(isolated: Connect, busybox_root: Path) -> None:
    async with isolated() as client:
        await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        with pytest.raises(GuestError) as caught:
            await client.start_init("c", process("nothing"), ContainerSpec(hostname="test", use_init=True))
        assert caught.value.exit_code == 127


async def test_execs_die_with_the_init_process(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, started):
        other = await client.start_exec("e", process("sleep", "60"))
        await started.signal(15)
        assert await started.wait() == 0
        assert await other.wait() == 137
        with pytest.raises(GuestError, match="the container is not running"):
            await client.start_exec("f", process("true"))


async def test_an_exec_that_crosses_the_end_of_the_container_is_told(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, init):
        status = Path(f"/proc/{init.pid}/stat")
        agent = int(status.read_text().split()[3])
        os.kill(agent, signal.SIGSTOP)
        try:
            starting = asyncio.ensure_future(client.start_exec("late", process("true")))
            await asyncio.sleep(0.05)  # it is on its way: the agent sees it before the end
            os.kill(init.pid, signal.SIGKILL)
            while " Z " not in status.read_text():
                await asyncio.sleep(0.01)
        finally:
            os.kill(agent, signal.SIGCONT)
        with pytest.raises(GuestError, match="the container is not running") as caught:
            await starting
        assert caught.value.code is ErrorCode.INVALID_STATE
        assert await init.wait() == 137


async def test_the_agent_is_out_of_reach(isolated: Connect, busybox_root: Path) -> None:
    async with running(isolated, busybox_root) as (client, _):
        code, text = await output_of(
            client, "sh", "-c", "ls -d /proc/[0-9]* | wc -l; readlink /proc/1/exe; ls -l /proc/1/cwd/"
        )
        assert code == 0
        assert int(text.split()[0]) < 6
        assert "busybox" in text.split()[1]
        assert "container-agent" not in text


async def test_the_root_is_mounted_once(isolated: Connect, busybox_root: Path) -> None:
    async with isolated() as client:
        with pytest.raises(GuestError, match="no root file system is mounted"):
            await client.write_files([FileSpec("/x", "")])
        await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        with pytest.raises(GuestError, match="mounted already"):
            await client.mount_rootfs(RootfsSpec(directory=str(busybox_root), upper=None))
        await client.sync()


async def test_the_machine_keeps_nothing(isolated: Connect, busybox_root: Path) -> None:
    before = Path("/proc/self/mounts").read_text()
    async with running(isolated, busybox_root):
        assert Path("/proc/self/mounts").read_text() == before
    assert stat.S_ISDIR(os.stat(busybox_root).st_mode)
