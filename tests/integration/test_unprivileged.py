"""What a process that is not root, or that arranges its own cgroup, may expect as with docker; drivers on demand."""

import subprocess

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
SMALL = ("-m", "256m", "-c", "1")


def test_a_user_writes_to_its_standard_streams_by_name(system: System, box: str) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; echo fd > /proc/self/fd/1"
    for command in (
        ("run", "--rm", "--progress", "none", *SMALL, "-u", "1000", "busybox"),
        ("exec", "-u", "1000", box),
    ):
        result = system.run(*command, "sh", "-c", script)
        assert (result.stdout, result.stderr) == ("out\nfd\n", "err\n"), command


def test_what_an_exec_writes_to_the_first_process_is_logged(system: System, box: str) -> None:
    system.run("exec", box, "sh", "-c", "echo from cron > /proc/1/fd/1")
    assert settle(lambda: system.output("logs", box), lambda text: "from cron" in text, 10).endswith("from cron")


def test_a_user_has_ports_below_1024_and_ping(system: System, box: str) -> None:
    script = (
        "nc -l -p 80 & sleep 0.2; echo bound | nc -w 5 127.0.0.1 80; wait %1; cat /proc/sys/net/ipv4/ping_group_range"
    )
    assert system.output("exec", "-u", "1000", box, "sh", "-c", script) == "bound\n0\t2147483647"


def test_a_working_directory_of_roots_alone(system: System, box: str) -> None:
    system.run("exec", box, "sh", "-c", "mkdir -p /private && chmod 0700 /private")
    assert system.output("exec", "-u", "1000", "-w", "/private", box, "id", "-u") == "1000"


def test_drivers_are_there_when_their_devices_are_opened(system: System) -> None:
    script = "mkdir /dev/net; mknod /dev/net/tun c 10 200; exec 3<>/dev/net/tun && exec 4<>/srv/fuse && echo open"
    options = ("--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN", "--device", "/dev/fuse:/srv/fuse")
    assert system.output("run", "--rm", *SMALL, *options, "busybox", "sh", "-c", script) == "open"


def test_devices_of_the_host_are_refused_with_the_reason(system: System) -> None:
    result = system.run("run", "--rm", "--device", "/dev/kvm", "busybox", "true", check=False)
    assert result.returncode == 1
    assert "cannot have the device /dev/kvm: it runs in a virtual machine of its own" in result.stderr


def test_a_first_process_may_move_within_its_cgroup(system: System) -> None:
    script = (
        "cd /sys/fs/cgroup && mkdir -p own/deep && echo 1 > own/deep/cgroup.procs && "
        "echo +memory > cgroup.subtree_control && echo +memory > own/cgroup.subtree_control && "
        "echo moved && exec sleep 1000"
    )
    name = system.output("run", "-d", *SMALL, "busybox", "sh", "-c", script)
    try:
        settle(lambda: system.output("logs", name), lambda text: "moved" in text, 20)
        seen = system.output("exec", name, "cat", "/proc/1/cgroup", "/proc/self/cgroup")
        assert seen.splitlines() == ["0::/own/deep", "0::/own/deep"]
        with subprocess.Popen(["printf", "moved"], stdout=subprocess.PIPE) as source:
            system.run("exec", "-i", name, "sh", "-c", "cat > /moved", stdin=source.stdout)
        copied = system.run("cp", f"{name}:/moved", "-", text=False)
        assert b"moved" in copied.stdout
    finally:
        system.run("delete", "-f", name)


def test_files_that_are_made_when_they_are_read_are_copied(system: System, box: str) -> None:
    copied = system.run("cp", f"{box}:/proc/version", "-")
    assert system.output("exec", box, "cat", "/proc/version") in copied.stdout
