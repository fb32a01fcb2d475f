"""`export`, `diff` and `commit`: the same files whether the container runs or not, and what an image is made of."""

import io
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator

import pytest
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
SMALL = ("-m", "256m", "-c", "1")
CHANGE = r"""
rm /bin/zcat && rm -r /usr/bin && mkdir /usr/bin && echo fresh > /usr/bin/new && echo more >> /etc/group
mkdir -p /made/deep && cd /made && echo one > one && ln one two && ln -s one link && mkfifo fifo && mknod null c 1 3
chmod 2755 deep && chown 12:34 one && touch -d @1000000000 one && printf 'x' > "$(printf 'n%0150d' 7)"
echo x > "$(printf 'new\nline')" && chmod 700 /root && head -c 16000000 /dev/zero > big
rm /bin/cat && mkdir /bin/cat && sync && sleep 100000
"""


@pytest.fixture(scope="module")
def changed(system: System) -> Iterator[str]:
    """A running container that has changed its root file system in every way."""
    name = "changed"
    system.run("run", "-d", "--name", name, *SMALL, "busybox", "sh", "-c", CHANGE)
    deadline = time.monotonic() + 60
    while system.run("exec", name, "test", "-d", "/bin/cat", check=False).returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    yield name
    system.run("delete", "-f", name)


def entries(archive: bytes) -> dict[str, tuple[object, ...]]:
    """What a tar says of each member, and its data; of a file with several names each, with the names."""
    found: dict[str, tuple[object, ...]] = {}
    names: dict[str, list[str]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for item in tar:
            name, first = item.name.rstrip("/"), item.linkname if item.islnk() else item.name.rstrip("/")
            names.setdefault(first, []).append(name)
            if item.islnk():
                continue
            file = tar.extractfile(item) if item.isreg() else None
            device = (item.devmajor, item.devminor) if item.isdev() else None
            data = b"" if file is None else file.read()
            found[name] = (item.type, item.mode, item.uid, item.gid, item.mtime, item.linkname, device, data)
    return {name: (*found[first], sorted(group)) for first, group in names.items() for name in group}


def guest_view(system: System, name: str) -> set[str]:
    """`<kind> <mode> <uid> <gid> <path>` of all that the container sees on its root file system."""
    script = "find / -xdev -exec stat -c '%f %u %g %n' '{}' +"
    lines = system.output("exec", name, "sh", "-c", script).split("\n")
    return {line for line in lines if line.count(" ") >= 3}


def test_an_export_is_what_the_container_sees(system: System, changed: str) -> None:
    archive = system.run("export", changed, text=False).stdout
    members = entries(archive)
    seen = {line.split(" ", 3)[3].lstrip("/") for line in guest_view(system, changed)}
    assert {name for name in members if "\n" not in name} - {"."} == seen - {"", "made/new"}
    for name in ("made/one", "made/two"):
        assert members[name][0] == tarfile.REGTYPE
        assert members[name][2:5] == (12, 34, 1_000_000_000)
        assert members[name][7:] == (b"one\n", ["made/one", "made/two"])
    assert members["made/null"][0] == tarfile.CHRTYPE
    assert members["made/null"][6] == (1, 3)
    assert members["made/deep"][1] == 0o2755
    assert members["usr/bin/new"][7] == b"fresh\n"
    assert "bin/zcat" not in members
    assert members["made/new\nline"][7] == b"x\n"
    assert not any(name.startswith(("proc/", "sys/", "dev/")) for name in members)


def test_changes_are_told_by_letter(system: System, changed: str) -> None:
    lines = system.output("diff", changed).split("\n")
    for line in ("C /bin", "D /bin/zcat", "C /bin/cat", "C /etc", "C /etc/group", "A /made", "A /made/one", "C /root"):
        assert line in lines
    assert "C /usr/bin" in lines
    assert "A /usr/bin/new" in lines
    assert not any(line.endswith(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")) for line in lines)
    names = [line[2:] for line in lines if line[1:3] == " /"]
    assert names == sorted(names)


def test_a_commit_makes_an_image_that_has_the_changes(system: System, changed: str) -> None:
    options = ("-a", "somebody", "-m", "why", "-c", "ENV GREETING=hello WORLD='the world'", "-c", 'CMD ["cat"]')
    entry = ("-c", "ENTRYPOINT echo $GREETING $WORLD; head -n 1 /usr/bin/new; ls /bin/zcat /made/deep; ls -ld /bin/cat")
    assert system.output("commit", *options, *entry, changed, "committed:1") == "docker.io/library/committed:1"
    result = system.run("run", "--rm", "--progress", "none", *SMALL, "committed:1", check=False)
    assert result.stdout.split("\n")[:2] == ["hello the world", "fresh"]
    assert "/bin/zcat: No such file" in result.stderr
    image = json.loads(system.output("image", "inspect", "committed:1"))[0]
    config = image["variants"][0]["config"]
    assert config["author"] == "somebody"
    assert config["history"][-1]["comment"] == "why"
    assert len(config["rootfs"]["diff_ids"]) == 2
    base, committed = entries(system.run("export", changed, text=False).stdout), None
    system.run("create", "--name", "twin", *SMALL, "committed:1")
    try:
        committed = entries(system.run("export", "twin", text=False).stdout)
    finally:
        system.run("delete", "twin")
        system.run("image", "delete", "committed:1")
    ours = {"etc/hosts", "etc/hostname", "etc/resolv.conf"}
    assert {name: base[name] for name in base if name not in ours} == committed


def test_changes_of_an_image_that_are_none(system: System, changed: str) -> None:
    result = system.run("commit", "-c", "RUN rm -rf /", changed, "committed:2", check=False)
    assert result.returncode == 1
    assert "invalid change 'RUN rm -rf /'" in result.stderr
    assert "committed" not in system.output("image", "list")


@pytest.mark.parametrize("lost", ["client", "apiserver"])
def test_writes_wait_while_a_container_is_exported(system: System, changed: str, lost: str) -> None:
    """Reads do not; and writes go on as soon as the export is over, however it ends."""
    stamp = f"/stamp-{lost}"
    with system.popen("export", changed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as export:
        assert export.stdout is not None
        export.stdout.read(100_000)
        command = f"echo begun; echo done > {stamp}"
        with system.popen("exec", changed, "sh", "-c", command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begun\n"
            assert system.output("exec", changed, "head", "-n", "1", "/usr/bin/new") == "fresh"
            assert writer.poll() is None
            os.kill(export.pid if lost == "client" else system.services()["apiserver"], signal.SIGKILL)
            written = settle(
                lambda: system.run("exec", changed, "head", stamp, check=False).stdout, lambda out: out == "done\n", 60
            )
        assert written == "done\n"
    assert system.state(changed) == "running"


def test_an_export_and_a_copy_that_waits_for_its_input_do_not_wait_for_each_other(system: System, changed: str) -> None:
    """The copy's write is under way while the export wants all writes to be over; the agent feeds both."""
    header = tarfile.TarInfo("late")
    header.size = 2_400_000
    with (
        system.popen("cp", "-", f"{changed}:/", stdin=subprocess.PIPE) as copy,
        system.popen("exec", changed, "sh", "-c", "until test -s /late; do :; done") as arrived,
    ):
        assert copy.stdin is not None
        copy.stdin.write(header.tobuf() + bytes(2_000_000))
        copy.stdin.flush()
        assert arrived.wait(60) == 0
        with system.popen("export", changed, stdout=subprocess.PIPE) as export:
            assert system.output("exec", changed, "echo", "alive") == "alive"
            copy.stdin.write(bytes(400_000) + bytes(1024))  # has room on its way, while the copy waits for the export
            copy.stdin.close()
            archive = export.communicate(timeout=60)[0]
        assert copy.wait(60) == 0
    assert entries(archive)["made/one"][7:] == (b"one\n", ["made/one", "made/two"])
    system.run("exec", changed, "rm", "/late")


def test_an_output_whose_reader_goes_ends_no_container(system: System, changed: str) -> None:
    for command in (("exec", changed, "yes"), ("export", changed), ("cp", f"{changed}:/bin", "-")):
        with system.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            assert child.stdout is not None
            assert child.stdout.read(1)
            child.stdout.close()
            assert child.wait(60) != 0
    assert system.state(changed) == "running"


def test_a_stop_does_not_wait_for_an_export(system: System) -> None:
    system.run("run", "-d", "--name", "leaving", *SMALL, "busybox", "sh", "-c", "while :; do echo x > /f; done")
    with system.popen("export", "leaving", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        assert export.stdout is not None
        export.stdout.read(1)
        began = time.monotonic()
        system.run("stop", "-t", "1", "leaving")
        assert time.monotonic() - began < 15
        error = export.communicate(timeout=30)[1]
    assert b"told to stop meanwhile" in error
    system.run("delete", "leaving")


def test_a_stopped_container_is_exported_as_the_running_one_was(system: System, changed: str) -> None:
    running = entries(system.run("export", changed, text=False).stdout)
    lines = system.output("diff", changed)
    system.run("stop", "-t", "0", changed)
    stopped = entries(system.run("export", changed, text=False).stdout)
    assert stopped == running
    assert system.output("diff", changed) == lines
    assert system.state(changed) == "stopped"


def test_nothing_else_happens_to_a_stopped_container_that_is_read(system: System, changed: str) -> None:
    assert system.state(changed) == "stopped"
    with system.popen("export", changed, stdout=subprocess.PIPE) as export:
        assert export.stdout is not None
        export.stdout.read(1)
        start = system.run("start", changed, check=False)
        delete = system.run("delete", changed, check=False)
        drain = threading.Thread(target=export.stdout.read)
        drain.start()
        drain.join(60)
    assert export.returncode == 0
    assert "are being read" in start.stderr
    assert "are being read" in delete.stderr
