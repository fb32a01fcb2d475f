"""Directories and files of the host in containers: what is seen, whose it is, and that nothing leads out of a share."""

import os
import pwd
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.system import System, settle

pytestmark = pytest.mark.vm

SMALL = ("-c", "1", "-m", "256m")
SECRET = "nobody inside may read this"


def owner(system: System) -> int:
    """Uid of the user whose system it is."""
    return os.getuid() if system.user is None else pwd.getpwnam(system.user).pw_uid


@pytest.fixture(scope="module")
def place(system: System) -> Path:
    """A directory of the system's user: `share` is shared, `secret` beside it is not, `fixed` is shared read-only."""
    base = system.base / "binds"
    for name in ("share", "fixed", "outside"):
        (base / name).mkdir(parents=True)
    (base / "fixed/file").write_text("fixed")
    (base / "fixed/sub").mkdir()
    (base / "one").write_text("one\n")
    (base / "outside/secret").write_text(SECRET)
    (base / "share/out").symlink_to(base / "outside/secret")
    (base / "share/up").symlink_to("../outside/secret")
    for path in (base, *base.rglob("*")):
        os.chown(path, owner(system), owner(system), follow_symlinks=False)
    return base


@pytest.fixture(scope="module")
def bound(system: System, place: Path) -> Iterator[Callable[..., str]]:
    """Runs a shell command in a container with these directories, as root with every capability."""
    binds = ["-v", f"{place}/share:/share", "-v", f"{place}/fixed:/fixed:ro"]
    binds += ["-v", f"{place}/one:/etc/one", "--mount", f"type=bind,source={place}/fixed,target=/mnt,readonly"]
    system.run("run", "-d", "--name", "bound", *SMALL, "--cap-add", "ALL", *binds, "busybox", "sleep", "100000")

    def run(script: str, **options: object) -> str:
        return system.output("exec", "bound", "sh", "-c", script, **options)

    yield run
    system.run("delete", "-f", "bound")


def test_files_go_both_ways_and_are_the_users_own(bound: Callable[..., str], place: Path, system: System) -> None:
    (place / "share/from-host").write_text("host")
    assert bound("cat /share/from-host; mkdir -p /share/a/b; echo guest > /share/a/b/c; ln -s c /share/a/b/d") == "host"
    assert (place / "share/a/b/c").read_text() == "guest\n"
    assert os.readlink(place / "share/a/b/d") == "c"
    assert {path.lstat().st_uid for path in (place / "share/a").rglob("*")} == {owner(system)}


def test_a_change_on_the_host_is_seen_at_once(bound: Callable[..., str], place: Path) -> None:
    changing = place / "share/changing"
    changing.write_text("0")
    changing.write_text("before")
    assert bound("cat /share/changing; stat -c %s /share/changing") == "before6"
    for number in range(5):
        changing.write_text(f"content {number} {'x' * number}")
        (place / f"share/new-{number}").touch()
        told = bound("cat /share/changing; echo; ls /share | grep -c new-")
        assert told == f"content {number} {'x' * number}\n{number + 1}"
    watcher = "for i in 1 2 3 4 5 6 7 8 9 10; do cat /share/changing; echo; sleep 0.2; done"
    timer = threading.Timer(1.0, lambda: changing.write_text("later"))
    timer.start()
    assert "later" in bound(watcher)


def test_one_file_is_shared_alone(bound: Callable[..., str], place: Path) -> None:
    assert bound("cat /etc/one; echo two >> /etc/one; ls -a /etc | wc -l") != ""
    assert (place / "one").read_text() == "one\ntwo\n"


def test_read_only_holds_against_a_root_with_every_capability(bound: Callable[..., str], place: Path) -> None:
    attempts = """
    for d in /fixed /mnt; do
      echo x > $d/new; echo x > $d/file; rm $d/file; mkdir $d/dir; chmod 777 $d/file; touch $d/sub
      mount -o remount,rw $d; mount -o remount,rw,bind $d
      echo x > $d/new; echo x > $d/file; rm $d/file; mkdir $d/dir; chmod 777 $d/file; mv $d/sub $d/bus
    done
    mkdir -p /again; for tag in share0 share1 share2 share3 share4; do
      mount -t virtiofs $tag /again && { [ -e /again/sub ] && { echo x > /again/new; rm /again/file; }; umount /again; }
    done
    """
    bound(attempts, check=False)
    assert sorted(path.name for path in (place / "fixed").iterdir()) == ["file", "sub"]
    assert (place / "fixed/file").read_text() == "fixed"


def test_links_are_never_followed_on_the_host(bound: Callable[..., str], place: Path) -> None:
    attempts = f"""
    cat /share/out /share/up
    ln -s {place}/outside /share/dir; cat /share/dir/secret; ls /share/dir/
    ln -s /proc/self/root /share/magic; cat /share/magic{place}/outside/secret
    ln -s /proc/1/root{place}/outside/secret /share/proc; cat /share/proc
    cd /share; cat ../outside/secret ../../../../../../../..{place}/outside/secret
    ln /share/../outside/secret /share/hard; ln {place}/outside/secret /share/hard; cat /share/hard
    mknod /share/disk b 254 0 && echo MADE
    """
    told = bound(attempts + "true")
    assert SECRET not in told
    assert "MADE" not in told
    assert not (place / "share/hard").exists()


def test_a_race_of_renames_does_not_lead_out(bound: Callable[..., str], place: Path) -> None:
    """A directory and a link to the outside swap places while files in it are opened, as fast as it goes.

    All names have one length: before Linux 6.14 a look-up may send a name that is just being changed, cut by a NUL, and
    that is more than virtiofsd 1.13 survives.
    """
    attempts = f"""
    cd /share; mkdir -p race; echo inside > race/secret; ln -sfn {place}/outside link
    (while [ ! -e stop ]; do mv race away; mv link race; mv race link; mv away race; done) 2>/dev/null &
    for i in $(seq 300); do cat race/secret; echo x > race/hole; done 2>/dev/null | sort | uniq -c
    touch stop; wait; rm -f stop
    """
    assert SECRET not in bound(attempts)
    assert sorted(path.name for path in (place / "outside").iterdir()) == ["secret"]


def test_names_that_are_not_utf8_and_special_files(bound: Callable[..., str], place: Path) -> None:
    odd = os.fsencode(place / "share") + b"/odd-\xff\xfe"
    Path(os.fsdecode(odd)).write_text("odd")
    assert bound("cat /share/odd-*; printf 'ab' > \"/share/$(printf 'made-\\377')\"; mkfifo /share/fifo") == "odd"
    assert os.path.exists(os.fsencode(place / "share") + b"/made-\xff")
    assert (place / "share/fifo").is_fifo()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "share/socket")[:107])
        assert "socket" in bound("stat -c %F /share/socket")


def test_modes_times_links_and_attributes_survive(bound: Callable[..., str], place: Path) -> None:
    bound("cd /share; echo x > m; chmod 4751 m; touch -d '2001-02-03 04:05:06' m; ln m m2; truncate -s 1M sparse")
    found = (place / "share/m").stat()
    assert found.st_mode & 0o7777 == 0o4751
    assert time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(found.st_mtime)) == "2001-02-03 04:05:06"
    assert found.st_nlink == 2
    assert (place / "share/sparse").stat().st_blocks == 0


def test_missing_sources_are_refused(system: System, place: Path) -> None:
    for words, text in (
        (("-v", "/no/such:/x"), "path '/no/such' does not exist"),
        (("--mount", "type=bind,source=/no/such,target=/x"), "path '/no/such' does not exist"),
        (("--mount", f"type=bind,source={place}/one,target=/x"), f"path '{place}/one' is not a directory"),
        (("-v", f"{place}/share:/x:uid=you"), "invalid mount option 'uid=you' of /x"),
    ):
        result = system.run("create", *words, "busybox", check=False)
        assert result.returncode == 1
        assert text in result.stderr


def test_a_source_that_went_away_fails_the_start_and_says_so(system: System, place: Path) -> None:
    gone = place / "gone"
    gone.mkdir()
    os.chown(gone, owner(system), owner(system))
    system.run("create", "--name", "gone", "-v", f"{gone}:/x", "busybox", "true")
    gone.rmdir()
    result = system.run("start", "gone", check=False)
    assert result.returncode == 1
    assert f"mount source path '{gone}' does not exist" in result.stderr
    system.run("delete", "gone")


def test_a_server_that_loses_a_thread_ends_the_machine_with_the_reason(system: System, place: Path) -> None:
    """Said in its place on its standard error, as the runtime of a server in Rust would."""
    if system.user is not None:
        pytest.skip("the same whoever the user is")
    system.run("run", "-d", "--name", "panic", *SMALL, "-v", f"{place}/fixed:/x", "busybox", "sleep", "100000")
    runtime = system.services()["runtime.panic"]
    children = Path(f"/proc/{runtime}/task/{runtime}/children").read_text().split()
    server = next(pid for pid in children if "virtiofsd" in Path(f"/proc/{pid}/cmdline").read_text())
    with open(f"/proc/{server}/fd/2", "w") as stderr:
        stderr.write("\nthread '<unnamed>' panicked at src/fs.rs:7:9:\nNulError\n")
    settle(lambda: system.state("panic"), lambda state: state == "stopped", 60)
    reason = system.inspect("panic")["status"]["reason"]
    assert f"the share {place}/fixed failed: a thread of its server panicked: thread '<unnamed>'" in reason
    system.run("delete", "panic")


def test_a_repository_cloned_by_the_host_is_built_inside_and_stays_the_users(debian_system: System) -> None:
    """git on the host, a build by a container's root: every file is the user's afterwards, and git is content."""
    system = debian_system
    work = system.base / "work"
    script = (
        f"git init -q --bare {work}/origin && git clone -q {work}/origin {work}/clone 2>/dev/null && cd {work}/clone"
        " && git config user.email a@b && git config user.name a && echo 'print(6*7)' > main.py"
        " && echo '__pycache__/' > .gitignore && git add . && git commit -qm first"
    )
    work.mkdir()
    os.chown(work, owner(system), owner(system))
    as_user = [] if system.user is None else ["setpriv", f"--reuid={system.user}", f"--regid={system.user}"]
    as_user += [] if system.user is None else ["--init-groups"]
    environment = {**system.environment, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run([*as_user, "sh", "-c", script], check=True, env=environment, capture_output=True)
    build = "cd /src && python3 -m compileall -q main.py && python3 main.py && mkdir -p build && cp main.py build/"
    run = ("run", "--rm", "-c", "1", "-m", "512m", "-v", f"{work}/clone:/src", "nginx:debian", "sh", "-c", build)
    assert system.output(*run) == "42"
    assert list((work / "clone/__pycache__").iterdir())
    assert {path.lstat().st_uid for path in work.rglob("*")} == {owner(system)}
    status = [*as_user, "git", "-C", f"{work}/clone", "status", "--porcelain"]
    told = subprocess.run(status, check=True, env=environment, capture_output=True, text=True).stdout
    assert told == "?? build/\n"
