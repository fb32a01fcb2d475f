"""Volumes: what is in them outlives containers, crashes and kill -9, and only one container has a disk at a time."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.system import System, settle

pytestmark = pytest.mark.vm

SMALL = ("-c", "1", "-m", "256m")


def configuration(system: System, volume: str) -> dict[str, object]:
    """What `volume inspect` tells."""
    found: dict[str, object] = json.loads(system.output("volume", "inspect", volume))[0]["configuration"]
    return found


def usage(system: System) -> dict[str, int]:
    """What `system df` tells of volumes."""
    found: dict[str, int] = json.loads(system.output("system", "df", "--format", "json"))["volumes"]
    return found


def qemu(system: System, container: str) -> int:
    """Pid of a container's QEMU."""
    return next(
        pid for pid, words in system.processes().items() if "qemu-system" in words[0] and f"guest={container}" in words
    )


@pytest.fixture
def once(system: System) -> None:
    """For what no user changes: as the caller only."""
    if system.user is not None:
        pytest.skip("the same whoever the user is")


def test_the_life_of_a_volume(system: System) -> None:
    assert system.output("volume", "create", "-s", "64m", "--label", "a=b", "life") == "life"
    again = system.run("volume", "create", "life", check=False)
    assert (again.returncode, again.stderr) == (1, "Error: volume 'life' already exists\n")
    assert configuration(system, "life")["sizeInBytes"] == 64 << 20
    assert system.output("volume", "list").splitlines()[1].split() == ["life", "named", "local", "size=64m"]
    assert system.output("volume", "delete", "life") == "life"
    missing = system.run("volume", "inspect", "life", check=False)
    assert missing.returncode == 1
    assert missing.stderr.startswith("Error: volume not found: life; ")
    missing = system.run("volume", "rm", "life", check=False)
    assert 'failed to delete one or more volumes: ["life"]' in missing.stderr


def test_contents_survive_the_container_and_go_with_the_volume(system: System) -> None:
    """Also what --rm switches off at once, and what nobody synced."""
    mount = ("-v", "kept:/data", "busybox", "sh", "-c")
    made = system.run("run", "--rm", *SMALL, *mount, "echo precious > /data/file; mkdir /data/dir; ls -A /data")
    assert made.stdout == "dir\nfile\n"
    assert 'named volume was automatically created: ["volume": "kept"]' in made.stderr
    again = system.run("run", "--rm", *SMALL, *mount, "cat /data/file")
    assert again.stdout == "precious\n"
    assert "automatically" not in again.stderr
    image = str(configuration(system, "kept")["source"])
    told = subprocess.run(["dumpe2fs", "-h", image], capture_output=True, text=True, check=True).stdout
    assert "needs_recovery" not in told  # it was unmounted
    assert system.output("volume", "delete", "kept") == "kept"
    assert not os.path.exists(image)


@pytest.mark.usefixtures("once")
def test_one_container_at_a_time_and_deleting_is_refused(system: System) -> None:
    """The third container waits for nobody; the API server may die in between."""
    for id in ("holder", "second"):
        system.run("create", "--name", id, *SMALL, "-v", "only:/data", "busybox", "sleep", "100000")
    system.run("start", "holder")
    os.kill(system.services()["apiserver"], signal.SIGKILL)
    refused = system.run("start", "second", check=False)
    assert refused.returncode == 1
    assert "volume 'only' is currently in use by container holder" in refused.stderr
    deleted = system.run("volume", "delete", "only", check=False)
    assert deleted.returncode == 1
    assert "volume 'only' is currently in use and cannot be accessed by another container, or deleted" in deleted.stderr
    assert 'delete failed for one or more volumes: ["only"]' in deleted.stderr
    system.run("delete", "-f", "holder")
    system.run("start", "second")
    assert system.output("volume", "prune") == ""
    system.run("delete", "-f", "second")
    assert system.output("volume", "prune").splitlines() == ["only"]


def test_an_empty_volume_gets_what_the_image_has_there(system: System) -> None:
    """With owners, modes and links, into disks and directories, once; not over what is there, not with nocopy."""
    system.run("volume", "create", "--opt", "type=directory", "shared")
    look = "cat /etc/passwd | wc -l; stat -c '%a %u' /etc /etc/group; readlink /bin/sh; rm -f /etc/group"
    for volume in ("disk", "shared"):
        run = ("run", "--rm", *SMALL, "-v", f"{volume}:/etc", "-v", f"{volume}bin:/tmp", "busybox", "sh", "-c", look)
        assert system.output(*run).splitlines() == ["2", "755 0", "644 0", "busybox"]
    again = ("busybox", "sh", "-c", "ls /etc/group || stat -c %a /tmp; ls /empty")
    told = system.run("run", "--rm", *SMALL, "-v", "disk:/etc", "-v", "diskbin:/tmp", "-v", "no:/empty:nocopy", *again)
    assert told.stdout == "1777\n"
    system.run("volume", "delete", "disk", "shared", "diskbin", "sharedbin", "no")


def test_a_first_use_may_be_read_only_and_the_container_writes_nothing(system: System) -> None:
    """Disks and directories are filled before the container's own machine has them, which cannot write to them."""
    system.run("volume", "create", "--opt", "type=directory", "shared")
    mounts = ("--cap-add", "ALL", "-v", "disk:/etc:ro", "-v", "shared:/tmp:ro", "-v", "shared:/bin:ro")
    attack = "for d in /etc /bin; do mount -o remount,rw,bind $d; mount -o remount,rw $d; echo x > $d/new; done; "
    look = "wc -l < /etc/passwd; readlink /bin/sh; stat -c '%a %u' /bin; ls /etc/new /bin/new /tmp/sh"
    run = ("run", "--rm", *SMALL, *mounts, "busybox", "sh", "-c", attack + look)
    assert system.run(*run, check=False).stdout.splitlines() == ["2", "busybox", "755 0", "/tmp/sh"]
    system.run("volume", "delete", "disk", "shared")


@pytest.mark.usefixtures("once")
def test_two_that_use_a_directory_first_see_all_of_it(system: System) -> None:
    """They start at once: one fills it, the other waits for that."""
    system.run("volume", "create", "--opt", "type=directory", "first")
    run = ("run", "--rm", *SMALL, "-v", "first:/bin", "busybox", "sh", "-c", "ls -A /bin | sort | md5sum")
    options = {"stdout": subprocess.PIPE, "text": True}
    with system.popen(*run, **options) as one, system.popen(*run, **options) as other:
        told = [one.communicate(timeout=100)[0], other.communicate(timeout=100)[0]]
    system.run("volume", "delete", "first")
    assert told[0] == told[1] == system.run("run", "--rm", *SMALL, *run[-4:]).stdout != ""


def test_a_directory_volume_is_shared_by_running_containers(system: System) -> None:
    system.run("volume", "create", "--opt", "type=directory", "common")
    before = usage(system)["sizeInBytes"]
    for id in ("left", "right"):
        system.run("run", "-d", "--name", id, *SMALL, "-v", "common:/c", "busybox", "sleep", "100000")
    write = (
        "mkdir /c/d; chown 5:6 /c/d; chmod 700 /c/d; dd if=/dev/urandom of=/c/d/x bs=1M count=5; echo ping > /c/file"
    )
    system.run("exec", "left", "sh", "-c", write)
    assert usage(system)["sizeInBytes"] - before > 5 << 20  # also what belongs to a subordinate id
    assert system.output("exec", "right", "sh", "-c", "cat /c/file; echo pong > /c/file") == "ping"
    assert system.output("exec", "left", "cat", "/c/file") == "pong"
    system.run("delete", "-f", "left", "right")
    source = str(configuration(system, "common")["source"])
    assert system.output("volume", "delete", "common") == "common"
    assert not os.path.exists(source)
    left = [name for name in os.listdir(os.path.dirname(os.path.dirname(source))) if name.endswith(".tmp")]
    assert left == []  # also what belonged to a subordinate id is gone


@pytest.mark.usefixtures("once")
def test_a_read_only_volume_is_read_only_outside_the_guest(system: System) -> None:
    """Even root with every capability cannot write to the disk; a dirty journal is replayed all the same, before."""
    write = ("run", "-d", "--name", "dirty", *SMALL, "-v", "fixed:/v", "busybox", "sh", "-c")
    system.run(*write, "echo data > /v/file; sync; echo ready; sleep 100000")
    settle(lambda: system.output("logs", "dirty"), lambda text: "ready" in text, 30)
    os.kill(qemu(system, "dirty"), signal.SIGKILL)
    settle(lambda: system.state("dirty"), lambda state: state == "stopped", 20)
    system.run("delete", "dirty")
    read = ("run", "--rm", *SMALL, "--cap-add", "ALL", "-v", "fixed:/v:ro", "busybox", "sh", "-c")
    attack = "echo x > /v/file; mount -o remount,rw /v; echo x > /v/file; "
    attack += "d=$(mount | grep ' /v ' | cut -d' ' -f1); mknod /d b"
    attack += " $(sed 's/:/ /' /sys/block/${d#/dev/}/dev); dd if=/dev/zero of=/d bs=1M count=1 2>&1; cat /v/file"
    assert "data" in system.output(*read, attack)
    assert system.output(*read, "cat /v/file") == "data"
    system.run("volume", "delete", "fixed")


@pytest.mark.usefixtures("once")
def test_a_full_volume_is_full_inside_only_and_space_comes_back(system: System) -> None:
    system.run("volume", "create", "-s", "64m", "small")
    run = ("run", "--rm", *SMALL, "-v", "small:/v", "busybox", "sh", "-c")
    told = system.run(*run, "dd if=/dev/urandom of=/v/big bs=1M count=100 2>&1; sync; du -m /v/big | cut -f1")
    assert "No space left on device" in told.stdout
    image = Path(str(configuration(system, "small")["source"]))
    full = image.stat().st_blocks * 512
    assert 40 << 20 < full <= 64 << 20
    system.run(*run, "rm /v/big")
    assert image.stat().st_blocks * 512 < full // 4
    system.run("volume", "delete", "small")


@pytest.mark.usefixtures("once")
@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system of the host")
def test_a_container_waits_while_the_hosts_disk_is_full_and_loses_nothing(system: System, tmp_path: Path) -> None:
    system.run("volume", "create", "-s", "1g", "cramped")
    image = Path(str(configuration(system, "cramped")["source"]))
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    subprocess.run([*mount, "-o", "size=24m"], check=True)
    try:
        subprocess.run(["cp", "--sparse=always", str(image), str(tmp_path)], check=True)
        image.unlink()
        image.symlink_to(tmp_path / image.name)
        write = "head -c 40000000 /dev/urandom > /v/file; sync; md5sum /v/file > /v/sum; sync; md5sum -c /v/sum"
        run = ("run", "-d", "--name", "cramped", *SMALL, "-v", "cramped:/v", "busybox", "sh", "-c")
        system.run(*run, f"{write}; sleep 100000")
        full = settle(lambda: os.statvfs(tmp_path).f_bfree, lambda free: free == 0, 60)
        assert (full, system.output("logs", "cramped"), system.state("cramped")) == (0, "", "running")
        subprocess.run([*mount, "-o", "remount,size=200m"], check=True)
        told = settle(lambda: system.output("logs", "cramped"), lambda text: "OK" in text, 90)
        assert told == "/v/file: OK"
        system.run("delete", "-f", "cramped")
        system.run("volume", "delete", "cramped")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.usefixtures("once")
def test_anonymous_volumes_stay_and_are_pruned(system: System) -> None:
    system.run("run", "--rm", *SMALL, "-v", "/cache", "busybox", "touch", "/cache/x")
    rows = [line.split() for line in system.output("volume", "list").splitlines()[1:]]
    assert [row[1] for row in rows] == ["anonymous"]
    told = usage(system)
    assert (told["total"], told["active"]) == (1, 0)
    assert told["reclaimable"] == told["sizeInBytes"] > 0
    pruned = system.run("volume", "prune")
    assert pruned.stdout == f"{rows[0][0]}\n"
    assert pruned.stderr.startswith("Reclaimed ")


@pytest.mark.usefixtures("once")
def test_tmpfs_and_shm_have_the_sizes_that_were_asked_for(system: System) -> None:
    """On a root that is read-only, with a volume that can be written."""
    mounts = ("--mount", "type=tmpfs,target=/t,size=2m,mode=0700", "--tmpfs", "/u", "--shm-size", "3m")
    look = (
        "stat -c %a /t; df -k /t /dev/shm | awk 'NR>1 {print $2}'; touch /t/x /u/x /v/x /dev/shm/x; touch /x || echo ro"
    )
    told = system.output("run", "--rm", *SMALL, "--read-only", *mounts, "-v", "/v", "busybox", "sh", "-c", look)
    assert told.splitlines() == ["700", "2048", "3072", "ro"]
    system.run("volume", "prune")


REDIS = "redis-server --dir /data --appendonly yes --appendfsync always --save '' --daemonize yes >/dev/null"
WRITER = 'i=0; while :; do i=$((i+1)); [ "$(redis-cli set key$i $i)" = OK ] && echo $i; done'  # told = acknowledged


@pytest.mark.usefixtures("once")
def test_redis_loses_nothing_that_it_acknowledged_when_qemu_is_killed(debian_system: System) -> None:
    system = debian_system
    run = ("run", "-d", "--name", "redis", "-c", "1", "-m", "512m", "-v", "redis:/data", "nginx:debian", "sh", "-c")
    system.run(*run, f"{REDIS}; until redis-cli ping >/dev/null 2>&1; do sleep 0.1; done; {WRITER}")
    settle(lambda: len(system.output("logs", "redis").split()), lambda count: count >= 30, 90)
    os.kill(qemu(system, "redis"), signal.SIGKILL)
    settle(lambda: system.state("redis"), lambda state: state == "stopped", 20)
    acknowledged = [int(word) for word in system.output("logs", "redis").split()]
    assert len(acknowledged) >= 30
    system.run("delete", "redis")
    read = f"{REDIS}; until redis-cli ping 2>/dev/null | grep -q PONG; do sleep 0.1; done; redis-cli get key{{}}"
    check = read.format(acknowledged[-1]) + "; redis-cli dbsize; redis-cli shutdown nosave"
    told = system.output(
        *("run", "--rm", "-c", "1", "-m", "512m", "-v", "redis:/data", "nginx:debian", "sh", "-c", check)
    ).split()
    assert told[0] == str(acknowledged[-1])
    assert int(told[1]) >= len(acknowledged)
    system.run("volume", "delete", "redis")


START_POSTGRESQL = """
data=/var/lib/postgresql/data bin=$(echo /usr/lib/postgresql/*/bin)
user="setpriv --reuid=postgres --regid=postgres --clear-groups"
[ -e $data/PG_VERSION ] || $user $bin/initdb -D $data -A trust >/dev/null
$user $bin/pg_ctl -D $data -o "-k /tmp -c listen_addresses=" -w -t 300 -l /tmp/log start >/dev/null || cat /tmp/log
sql="psql -h /tmp -U postgres -qAt"
"""


@pytest.mark.usefixtures("once")
@pytest.mark.timeout(900)  # with the making of the image, the first time
def test_postgresql_loses_nothing_that_it_acknowledged_when_qemu_is_killed(postgresql_system: System) -> None:
    """The volume begins as a copy of the image's /var/lib/postgresql, which belongs to postgres."""
    system = postgresql_system
    image = ("-c", "2", "-m", "768m", "-v", "pg:/var/lib/postgresql", "postgresql:debian", "sh", "-c")
    write = "$sql -c 'create table t (n int primary key)'; seq 1000000 |"
    write += " sed 's/.*/insert into t values (&) returning n;/' | $sql"
    system.run("run", "-d", "--name", "pg", *image, START_POSTGRESQL + write)
    settle(lambda: len(system.output("logs", "pg").split()), lambda count: count >= 100, 200)
    os.kill(qemu(system, "pg"), signal.SIGKILL)
    settle(lambda: system.state("pg"), lambda state: state == "stopped", 20)
    acknowledged = [int(word) for word in system.output("logs", "pg").split()]
    assert len(acknowledged) >= 100
    system.run("delete", "pg")
    read = "$sql -c 'select count(*), max(n) from t'; $user $bin/pg_ctl -D $data -w -m fast stop >/dev/null"
    told = system.output("run", "--rm", *image, START_POSTGRESQL + read, timeout=200)
    count, last = map(int, told.split("|"))
    assert count == last >= acknowledged[-1] == len(acknowledged)
    system.run("volume", "delete", "pg")
