"""The confinement of a file server: whose ids it sees, what it is told, what it can pretend."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.linux.native import program

PLACE = "/tmp/share"  # where the share is, in a namespace of its own
PRETENDED = 7777777777777 * 10**9 + 777777777  # guest/include/replay.h
PYTHON = os.path.realpath(sys.executable)  # not below /tmp, which is covered
UNPRIVILEGED = [] if os.getuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "--"]


def shared(source: Path, *options: str, script: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in the place of a file server."""
    words = [*UNPRIVILEGED, program("container-share"), *options, str(source), "--", PYTHON, "-I", "-c", script]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@contextlib.contextmanager
def watched(source: Path, script: str = "") -> Iterator[socket.socket]:
    """Our end of the socket that is told of changes; the server runs `script` once all is watched, and waits then."""
    script = f"import os, sys; sys.stdin.readline()\n{script}\nsys.stdin.read()"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    options = [f"--watch={theirs.fileno()}", str(source), "--", PYTHON, "-I", "-c", script]
    words = [*UNPRIVILEGED, program("container-share"), *options]
    with ours, subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE) as server:
        theirs.close()
        ours.settimeout(30)
        assert ours.recv(1 << 16) == b"a.\0"  # all is watched
        assert server.stdin is not None
        server.stdin.write(b"\n")
        server.stdin.flush()
        yield ours
        server.stdin.close()


def records_until(changes: socket.socket, wanted: set[bytes]) -> set[bytes]:
    """Records up to those that are wanted."""
    found: set[bytes] = set()
    while not wanted <= found:
        packet = changes.recv(1 << 16)
        assert packet, f"the watcher ended, {wanted - found} missing"
        found.update(packet.split(b"\0"))
    return found - {b""}


@pytest.mark.parametrize(("option", "owner"), [("--uid=1000", "1000 0"), ("--gid=1000", "0 1000"), ("--uid=0", "0 0")])
def test_the_sources_owner_is_whom_the_mount_says(tmp_path: Path, option: str, owner: str) -> None:
    script = f"import os; s = os.stat('{PLACE}'); print(s.st_uid, s.st_gid); open('{PLACE}/new', 'w').close()"
    script += f"; os.chown('{PLACE}/new', s.st_uid, s.st_gid); print(os.getuid(), os.getgid())"
    done = shared(tmp_path, option, script=script)
    assert done.stdout == f"{owner}\n0 0\n", done.stderr
    assert ((tmp_path / "new").stat().st_uid, (tmp_path / "new").stat().st_gid) == (os.getuid(), os.getgid())


def test_an_id_that_the_user_has_not_is_refused(tmp_path: Path) -> None:
    if not UNPRIVILEGED:
        pytest.skip("root has every id")
    done = shared(tmp_path, "--uid=3000000000", script="")
    assert done.returncode == 1
    assert "uid=3000000000 is not among the ids that the user has" in done.stderr


@pytest.mark.parametrize("options", [("--uid",), ("--uid=-1",), ("--uid=x",), ("--uid=",), ("--what",), ()])
def test_bad_options_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    source = [str(tmp_path)] if options else []
    done = subprocess.run(
        [program("container-share"), *options, *source, "--", "/bin/true"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr


def test_changes_are_told_with_their_paths_also_in_new_and_in_moved_directories(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "old").touch()
    with watched(tmp_path) as changes:
        (tmp_path / "a/b/first").touch()
        records_until(changes, {b"aa/b", b"ma/b/first"})
        (tmp_path / "old").chmod(0o600)
        (tmp_path / "new/deep").mkdir(parents=True)
        (tmp_path / "new/deep/file").touch()
        assert b"ma/b/first" not in records_until(changes, {b"aold", b"anew", b"a.", b"mnew/deep/file"})
        (tmp_path / "new").rename(tmp_path / "a/moved")
        records_until(changes, {b"a.", b"aa", b"aa/moved", b"ma/moved/deep/file"})
        (tmp_path / "a/moved/deep/file").unlink()
        assert records_until(changes, {b"aa/moved/deep"}) == {b"aa/moved/deep"}


def test_many_changes_become_few_records(tmp_path: Path) -> None:
    with watched(tmp_path) as changes:
        for number in range(2000):
            (tmp_path / "busy").write_text(str(number))
        (tmp_path / "last").touch()
        packets = [changes.recv(1 << 16)]
        while b"mlast\0" not in packets[-1]:
            packets.append(changes.recv(1 << 16))
        assert b"".join(packets).count(b"mbusy\0") == len([packet for packet in packets if b"mbusy\0" in packet])


def watcher() -> int:
    """Pid of the process that watches: the server's child."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return int(Path(f"/proc/{children[-1]}/task/{children[-1]}/children").read_text().split()[0])


def test_directories_that_came_while_events_were_lost_are_watched(tmp_path: Path) -> None:
    """The watcher is held up until the kernel has no room for more events."""
    for name in ("one", "other"):
        (tmp_path / name).touch()
    with watched(tmp_path) as changes:
        held = watcher()
        os.kill(held, signal.SIGSTOP)
        for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())):
            os.utime(tmp_path / "one")
            os.utime(tmp_path / "other")
        (tmp_path / "unheard").mkdir()
        os.kill(held, signal.SIGCONT)
        records_until(changes, {b"a."})
        found: set[bytes] = set()
        changes.settimeout(0.2)
        for _ in range(300):
            (tmp_path / "unheard/file").write_text("x")
            with contextlib.suppress(TimeoutError):
                found.update(changes.recv(1 << 16).split(b"\0"))
            if b"munheard/file" in found:
                break
        assert b"munheard/file" in found


def test_a_link_that_takes_the_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    outside, source = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    source.mkdir()
    with watched(source) as changes:
        (source / "link").symlink_to(outside)
        records_until(changes, {b"mlink"})
        for _ in range(20):
            (source / "real").mkdir()
            (source / "real").rmdir()
            (source / "real").symlink_to(outside)
            (source / "real").unlink()
        (outside / "secret").touch()
        (source / "end").touch()
        assert not [record for record in records_until(changes, {b"mend"}) if b"secret" in record]


def test_a_server_can_pretend_a_change_and_make_real_ones(tmp_path: Path) -> None:
    for name in ("pretended", "real", "done"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(7, 7))
    before = (tmp_path / "pretended").stat()
    script = f"""
os.chdir("{PLACE}")
os.utime("pretended", ns=({PRETENDED}, {PRETENDED}))
os.utime("real", ns=(9, 9))
os.utime("done")
"""
    with watched(tmp_path, script) as changes:
        assert b"apretended" not in records_until(changes, {b"areal", b"adone"})
    after = (tmp_path / "pretended").stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert (tmp_path / "real").stat().st_mtime_ns == 9
