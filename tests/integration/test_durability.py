"""What a container wrote and synced is there, however its machine ended; what it gave up is free again."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
SMALL = ("-m", "256m", "-c", "1")
# Says a number only after the file with it, and the directory with the file, are on the disk.
WRITER = """
mkdir -p /data; echo start > /data/unsynced
n=0; while :; do n=$((n+1)); head -c 9000 /dev/zero > /data/$n; echo $n >> /data/log; sync; echo $n; done
"""
CHECK = """
test "$(tail -n 1 /data/log)" -ge "$1" || exit 3
i=0; while [ $i -lt "$1" ]; do i=$((i+1)); test "$(wc -c < /data/$i)" -eq 9000 || exit 4; done
touch /data/again && echo whole
"""


def machine_of(system: System, name: str) -> int:
    """Pid of the QEMU of a container."""
    found = [
        pid
        for pid, words in system.processes().items()
        if "qemu" in words[0] and any(word.startswith(f"guest={name}") for word in words)
    ]
    assert len(found) == 1
    return found[0]


def disk(system: System, name: str) -> Path:
    return system.base / "app" / "containers" / name / "upper.ext4"


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def assert_clean(image: Path) -> None:
    """It was unmounted: nothing to replay, nothing to repair."""
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    command = ["dumpe2fs", "-h", str(image)]
    state = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert "needs_recovery" not in state
    assert "Filesystem state:         clean" in state
    checked = subprocess.run(["e2fsck", "-fn", str(image)], capture_output=True, text=True, env=environment)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("victim", ["machine", "helper"])
def test_what_was_synced_survives_a_kill(system: System, victim: str) -> None:
    if system.user is not None:
        pytest.skip("the disk is the same file for every user")
    name = f"killed-{victim}"
    system.run("run", "-d", "--name", name, *SMALL, "busybox", "sh", "-c", WRITER)
    settle(lambda: system.output("logs", name).count("\n"), lambda lines: lines > 30, 60)
    pid = machine_of(system, name) if victim == "machine" else system.services()[f"runtime.{name}"]
    os.kill(pid, signal.SIGKILL)
    assert settle(lambda: system.state(name), lambda state: state == "stopped", 30) == "stopped"
    told = int(system.output("logs", name).split("\n")[-1])
    assert told > 30
    system.run("commit", "-c", "CMD true", name, f"{name}:1")  # reads the disk, journal and all
    script = f"set -- {told}\n{CHECK}"
    assert system.output("run", "--rm", "--progress", "none", *SMALL, f"{name}:1", "sh", "-c", script) == "whole"
    system.run("delete", name)
    system.run("image", "delete", f"{name}:1")


@pytest.mark.parametrize("way", ["stop", "kill", "exit"])
def test_nothing_is_lost_by_an_orderly_end(system: System, way: str) -> None:
    """Not even what was never synced; and the file system is clean: nothing to replay."""
    if system.user is not None:
        pytest.skip("the disk is the same file for every user")
    name = f"ended-{way}"
    end = "exit 0" if way == "exit" else "exec sleep 9999"
    write = "head -c 5000000 /dev/urandom > /unsynced; md5sum /unsynced > /sum"
    script = f"test -e /unsynced && exec md5sum -c /sum; {write}; echo ready; {end}"
    system.run("create", "--name", name, *SMALL, "busybox", "sh", "-c", script)
    system.run("start", name)
    settle(lambda: system.run("logs", name).stdout, lambda text: "ready" in text, 60)
    if way == "stop":
        system.run("stop", "-t", "1", name)
    elif way == "kill":
        system.run("kill", name)
    assert settle(lambda: system.state(name), lambda state: state == "stopped", 30) == "stopped"
    assert_clean(disk(system, name))
    assert system.output("start", "-a", name) == "/unsynced: OK"
    system.run("delete", name)


def test_whatever_ends_a_container_that_writes_its_disks_are_unmounted(system: System) -> None:
    """The writer never syncs and never pauses."""
    if system.user is not None:
        pytest.skip("the disk is the same file for every user")
    write = "head -c 70000 /dev/urandom > /data/$((n % 40)); cp /data/$((n % 40)) /copy$((n % 30))"
    ends = {
        "stop": lambda: system.run("stop", "-t", "1", "writer"),
        "delete": lambda: system.run("delete", "-f", "writer"),
        "own": lambda: system.run("exec", "writer", "touch", "/enough"),
        "system": lambda: (system.run("system", "stop"), system.run("system", "start")),
    }
    volume = system.base / "app" / "volumes" / "written" / "volume.img"
    system.run("volume", "create", "-s", "1g", "written")
    for way, end in ends.items():
        script = f"n=0; until test -e /enough; do n=$((n+1)); {write}; test $n != 99 || echo writing; done"
        options = [*SMALL, *(["--rm"] if way == "own" else []), "--name", "writer", "-v", "written:/data"]
        system.run("run", "-d", *options, "busybox", "sh", "-c", script)
        assert "writing" in settle(lambda: system.run("logs", "writer").stdout, lambda text: "writing" in text, 60)
        end()
        listed = settle(lambda: system.output("list", "-q"), lambda text: "writer" not in text.split(), 60)
        assert "writer" not in listed.split(), way
        assert_clean(volume)
        if disk(system, "writer").exists():
            assert_clean(disk(system, "writer"))
            system.run("delete", "writer")
    assert "written" in system.output("volume", "list")
    system.run("volume", "delete", "written")


def test_space_that_a_container_frees_is_free_on_the_host(system: System) -> None:
    if system.user is not None:
        pytest.skip("the disk is the same file for every user")
    name = "spacious"
    system.run("run", "-d", "--name", name, *SMALL, "busybox", "sleep", "9999")
    path = disk(system, name)
    before = allocated(path)
    system.run("exec", name, "sh", "-c", "head -c 80000000 /dev/urandom > /big; sync")
    assert allocated(path) - before > 70_000_000
    system.run("exec", name, "sh", "-c", "rm /big; sync")
    assert settle(lambda: allocated(path), lambda size: size - before < 20_000_000, 20) - before < 20_000_000
    used = json.loads(system.output("system", "df", "--format", "json"))["containers"]
    assert used["sizeInBytes"] < 60_000_000
    system.run("delete", "-f", name)


def test_space_that_a_killed_machine_left_comes_back_at_the_next_stop(system: System) -> None:
    if system.user is not None:
        pytest.skip("the disk is the same file for every user")
    name = "crashed"
    script = "test -e /big || head -c 90000000 /dev/urandom > /big; sync; echo ready; exec sleep 9999"
    system.run("run", "-d", "--name", name, *SMALL, "busybox", "sh", "-c", script)
    settle(lambda: system.run("logs", name).stdout, lambda text: "ready" in text, 60)
    path = disk(system, name)
    with path.open("r+b") as image:  # as if discards had been lost: blocks that nothing uses are allocated
        image.seek(41 << 30)  # in the middle of 2 GiB of block groups: free of their tables
        image.write(os.urandom(1 << 20) * 80)
    full = allocated(path)
    system.run("stop", "-t", "0", name)
    assert full - allocated(path) > 70_000_000
    system.run("delete", name)


def test_the_writable_layer_has_the_size_that_was_asked_for(system: System) -> None:
    if system.user is not None:
        pytest.skip("the disk is the same file for every user")
    script = "dd if=/dev/zero of=/full bs=1M count=200; echo $?; rm /full; echo still > /works; cat /works"
    result = system.run("run", "--rm", "--storage", "128m", *SMALL, "busybox", "sh", "-c", script)
    assert result.stdout == "1\nstill\n"
    assert "No space left on device" in result.stderr
    began = time.monotonic()
    refused = system.run("create", "--storage", "1m", "busybox", check=False)
    assert "minimum storage allowed is 64 MiB" in refused.stderr
    refused = system.run("create", "--storage", "17t", "busybox", check=False)
    assert "maximum storage allowed is 16 TiB" in refused.stderr
    assert time.monotonic() - began < 10
