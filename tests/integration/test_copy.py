"""`container copy` between the host and a real machine, as root and as an ordinary user; attacks by a root inside."""

import io
import os
import pwd
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


@pytest.fixture
def host(system: System) -> Iterator[Path]:
    """A directory of the system's user."""
    with tempfile.TemporaryDirectory(prefix="copy-", dir=system.base) as name:
        path = Path(name)
        if system.user is not None:
            os.chown(path, pwd.getpwnam(system.user).pw_uid, -1)
        yield path


def make_tree(system: System, top: Path) -> None:
    """A small tree of everything that travels, made by the system's user."""
    script = f"""
    umask 022 && mkdir -p {top}/sub/empty && cd {top} && head -c 300000 /dev/urandom > sub/data
    printf '#!/bin/sh\\necho ran' > run && chmod 750 run && ln -s sub/data link && ln -s /nowhere dangling
    ln run same && mkfifo fifo
    touch -d @1000000000 sub/data && touch -d @1100000000 sub
    """
    prefix = (
        [] if system.user is None else ["setpriv", f"--reuid={system.user}", f"--regid={system.user}", "--clear-groups"]
    )
    subprocess.run([*prefix, "sh", "-ec", script], check=True)


def test_a_tree_goes_in_and_out_again(system: System, box: str, host: Path) -> None:
    make_tree(system, host / "tree")
    assert system.output("copy", str(host / "tree"), f"{box}:/srv/copy-of-it") == f"{box}:/srv/copy-of-it"
    seen = system.output(
        "exec", box, "sh", "-c", "cd /srv/copy-of-it && ./run && stat -c '%u:%g %a %Y %n' run sub/data"
    )
    assert seen.splitlines() == ["ran", "0:0 750 " + seen.split()[3], "0:0 644 1000000000 sub/data"] or "750" in seen
    assert "0:0 644 1000000000 sub/data" in seen
    assert system.output("cp", f"{box}:/srv/copy-of-it", str(host)) == str(host / "copy-of-it")
    back = host / "copy-of-it"
    assert (back / "sub/data").read_bytes() == (host / "tree/sub/data").read_bytes()
    assert (os.readlink(back / "link"), os.readlink(back / "dangling")) == ("sub/data", "/nowhere")
    assert (back / "run").stat().st_ino == (back / "same").stat().st_ino
    assert (back / "run").stat().st_mode & 0o777 == 0o750
    assert int((back / "sub").stat().st_mtime) == 1_100_000_000
    assert (back / "run").stat().st_uid == host.stat().st_uid


def test_the_rules_of_destinations_hold_in_the_container(system: System, box: str, host: Path) -> None:
    (host / "file").write_text("text")
    (host / "file").chmod(0o644)
    (host / "dir").mkdir()
    system.run("exec", box, "sh", "-c", "mkdir -p /rules/there && echo old > /rules/file && ln -s file /rules/to-file")
    file = str(host / "file")
    assert system.output("cp", file, f"{box}:/rules/there/") == f"{box}:/rules/there/file"
    assert system.output("cp", file, f"{box}:/rules/new/parents/made") == f"{box}:/rules/new/parents/made"
    system.run("cp", file, f"{box}:/rules/to-file")
    assert system.output("exec", box, "sh", "-c", "cd /rules; cat there/file new/parents/made file") == "text" * 3
    for source, target, message in (
        (file, "/rules/none/", "destination directory does not exist: /rules/none/"),
        (str(host / "dir"), "/rules/file", "cannot copy directory over existing file: /rules/file"),
        (file, "/rules/file/", "destination is not a directory: /rules/file/"),
        (file + "/", "/rules", f"source path is not a directory: {file}/"),
        (str(host / "none"), "/rules", f"source path does not exist: {host}/none"),
    ):
        result = system.run("cp", source, f"{box}:{target}", check=False)
        assert result.returncode == 1
        assert message in result.stderr


def test_command_lines_that_make_no_sense(system: System, box: str, host: Path) -> None:
    (host / "x").touch()
    for source, target, message in (
        (f"{box}:/a", f"{box}:/b", "copying between containers is not supported"),
        (
            "x",
            "y",
            "one of source or destination must be a container reference (container_id:path)",
        ),
        (str(host / "x"), f"{box}:relative", f"invalid path given: {box}:relative"),
        (f"{box}:/none", str(host), "source path does not exist: /none"),
        (f"{box}:/dev/null", str(host), "source path is no file and no directory: /dev/null"),
        (str(host / "x"), "no-such-box:/", "get failed: container no-such-box not found"),
    ):
        result = system.run("cp", source, target, check=False)
        assert result.returncode == 1
        assert message in result.stderr


def test_a_stopped_container_is_not_copied_from_or_to(system: System, host: Path) -> None:
    system.run("create", "--name", "idle", "-m", "256m", "-c", "1", "busybox", "true")
    (host / "x").touch()
    into = system.run("cp", str(host / "x"), "idle:/", check=False)
    out = system.run("cp", "idle:/etc/passwd", str(host), check=False)
    system.run("delete", "idle")
    assert into.stderr == (
        "Error: failed to copy into container idle: container idle is not running; `container start idle` starts it\n"
    )
    assert "failed to copy from container idle" in out.stderr


def test_a_dash_is_a_tar_stream(system: System, box: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("streamed/file")
        info.size, info.uid, info.gid, info.mode = 4, 1234, 5678, 0o4755
        tar.addfile(info, io.BytesIO(b"text"))
    system.run("cp", "-", f"{box}:/tmp", input=stream.getvalue(), text=False)
    assert system.output("exec", box, "stat", "-c", "%u:%g %a", "/tmp/streamed/file") == "1234:5678 4755"
    out = system.run("cp", f"{box}:/tmp/streamed", "-", text=False).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert [(item.name, item.uid) for item in tar] == [("streamed", 0), ("streamed/file", 1234)]


def test_mounts_are_seen_as_the_container_sees_them(system: System, host: Path) -> None:
    system.run(
        "run", "-d", "--name", "mounted", "--tmpfs", "/scratch", "-m", "256m", "-c", "1", "busybox", "sleep", "9999"
    )
    (host / "x").write_text("text")
    system.run("cp", str(host / "x"), "mounted:/scratch/")
    assert system.output("exec", "mounted", "cat", "/scratch/x") == "text"
    system.run("cp", "mounted:/scratch/x", str(host / "y"))
    assert (host / "y").read_text() == "text"
    system.run("delete", "-f", "mounted")


def test_what_does_not_fit_is_told_and_leaves_no_half_file(system: System, host: Path) -> None:
    """Into the root file system, into a volume, and out to a full disk; what has room goes on."""
    if system.user is not None:
        pytest.skip("the disks are the same for every user")
    system.run("volume", "create", "-s", "32m", "tight")
    limits = ("--storage", "64m", "-v", "tight:/v", "-m", "256m", "-c", "1")
    system.run("run", "-d", "--name", "tight", *limits, "busybox", "sleep", "9999")
    (host / "tree").mkdir()
    for number in range(2):  # one of them fits, not both
        (host / f"tree/{number}").write_bytes(os.urandom(35_000_000))
    for source, target in (("tree", "/tree"), ("tree/0", "/v/file")):
        refused = system.run("cp", str(host / source), f"tight:{target}", check=False)
        assert "failed to write" in refused.stderr
        assert "No space left on device" in refused.stderr
    assert system.output("exec", "tight", "sh", "-c", "ls -A /tree | wc -l; ls /v; rm -r /tree") == "1"
    disk = system.base / "app/containers/tight/upper.ext4"
    assert disk.stat().st_blocks * 512 <= 64 << 20
    system.run("cp", str(host / "tree/0"), "tight:/fits")
    out = ("cp", "tight:/fits", "-")
    with open("/dev/full", "wb") as full, system.popen(*out, stdout=full, stderr=subprocess.PIPE, text=True) as copy:
        assert "failed to write the archive: No space left on device" in copy.communicate(timeout=60)[1]
    assert copy.returncode == 1
    system.run("delete", "-f", "tight")
    system.run("volume", "delete", "tight")


# ---- copies that are given up ----


def copying(system: System) -> list[list[str]]:
    """The programs that copy."""
    return [words for words in system.processes().values() if words[0].endswith("container-tar")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_copy_that_is_given_up_leaves_nothing_half_done(
    system: System, box: str, host: Path, number: signal.Signals
) -> None:
    """Neither half a file nor a process, here or there, whatever ends the command; and the next copy works."""
    if system.user is not None and number is signal.SIGKILL:
        pytest.skip("one way to end it is enough for a second user")
    size = 200_000_000  # bytes: under way for long enough
    system.run("exec", box, "sh", "-c", f"test -e /large || head -c {size} /dev/zero > /large")
    half = host / "half"
    with system.popen("cp", f"{box}:/large", str(half), stderr=subprocess.DEVNULL) as out:
        assert settle(lambda: half.exists() and half.stat().st_size > 0, bool, 60)
        out.send_signal(number)
    assert settle(lambda: copying(system), lambda left: not left, 60) == []
    assert not half.exists()
    half.write_bytes(bytes(size))
    half.chmod(0o644)
    there = ("exec", box, "test", "-s", "/half")
    with system.popen("cp", str(half), f"{box}:/half", stderr=subprocess.DEVNULL) as into:
        assert settle(lambda: system.run(*there, check=False).returncode, lambda code: code == 0, 60) == 0
        into.send_signal(number)
    assert settle(lambda: copying(system), lambda left: not left, 60) == []
    assert settle(lambda: system.run(*there, check=False).returncode, lambda code: code == 1, 60) == 1
    half.unlink()
    assert system.output("cp", f"{box}:/etc/passwd", str(half)) == str(half)


# ---- attacks: the container's root is not on our side ----

SWAP = """
mkdir -p /race/a /race/b; echo inside > /race/b/secret
while :; do rm -rf /race/x; ln -s {target} /race/x; rm -f /race/x; mkdir /race/x; echo inside > /race/x/secret; done
"""


@pytest.fixture
def racing(system: System, box: str) -> Iterator[None]:
    """A process in the container that swaps a directory for a link out of it, all the time."""
    script = SWAP.format(target="../../../../../../proc/1/root")
    with system.popen("exec", box, "sh", "-c", f"echo $$ > /racer; {script}", stderr=subprocess.DEVNULL) as racer:
        yield
        system.run("exec", box, "sh", "-c", "kill -9 $(cat /racer)", check=False)
        racer.wait(30)


@pytest.mark.usefixtures("racing")
def test_a_race_with_links_leads_nowhere(system: System, box: str, host: Path) -> None:
    """Whatever the swap hits, what is read and written is the container's own."""
    (host / "payload").write_text("payload")
    for number in range(8):
        system.run("cp", str(host / "payload"), f"{box}:/race/x/planted", check=False)
        system.run("cp", f"{box}:/race/x/secret", str(host / f"got{number}"), check=False)
        system.run("cp", f"{box}:/race", str(host / f"tree{number}"), check=False)
    for got in [*host.glob("got*"), *host.glob("tree*/x/secret")]:
        assert got.read_text() in ("inside\n", "")
    assert not Path("/planted").exists()
    assert system.output("exec", box, "echo", "alive") == "alive"


def test_links_of_the_container_do_not_lead_out_of_it(system: System, box: str, host: Path) -> None:
    (host / "x").write_text("planted")
    canary = host / "canary"
    canary.write_text("alive")
    canary.chmod(0o644)
    links = {
        "up": "/" + "../" * 30 + str(canary.parent).lstrip("/"),
        "root": "/proc/self/root",
        "one": "/proc/1/root",
        "cwd": "/proc/1/cwd",
    }
    made = "; ".join(f"ln -sfn {target} /evil-{name}" for name, target in links.items())
    system.run("exec", box, "sh", "-c", made)
    for name in links:
        system.run("cp", str(host / "x"), f"{box}:/evil-{name}/canary", check=False)
        result = system.run("cp", f"{box}:/evil-{name}/c/r/init", str(host / "stolen"), check=False)
        assert result.returncode == 1, name  # the agent's own state directory is not to be seen
    assert canary.read_text() == "alive"
    assert not (host / "stolen").exists()


def test_crafted_names_stay_in_the_destination(system: System, box: str, host: Path) -> None:
    names = r"""
    mkdir -p "/crafted/sub" && cd /crafted && echo x > "$(printf 'a\nb')" && echo x > "$(printf '\377')"
    echo x > '..x' && echo x > '-rf' && echo x > 'a:b' && ln -s ../../../../../../../etc sub/etc
    echo x > "sub/$(printf '%0240d' 1)"
    """
    system.run("exec", box, "sh", "-ec", names)
    system.run("cp", f"{box}:/crafted", str(host))
    assert sorted(os.listdir(os.fsencode(host / "crafted"))) == [b"-rf", b"..x", b"a\nb", b"a:b", b"sub", b"\xff"]
    assert os.readlink(host / "crafted/sub/etc") == "../../../../../../../etc"
    again = system.run("cp", f"{box}:/crafted", str(host))  # over what is there, whose link is not followed
    assert again.stdout == f"{host}/crafted\n"
