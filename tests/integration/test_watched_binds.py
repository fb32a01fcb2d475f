"""Binds that are watched and whose owner is another one inside; a web server in front of a directory of the host."""

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.system import System, settle

from .test_binds import owner

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
PORT = 19080 + os.getpid() % 1000

WATCHER = """
import ctypes, os, struct, sys
names = {2: "modify", 4: "attrib", 256: "create", 512: "delete"}
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
places = {libc.inotify_add_watch(fd, path.encode(), sum(names)): path for path in sys.argv[1:]}
print("ready", flush=True)
while data := os.read(fd, 65536):
    while data:
        watch, mask, _, length = struct.unpack_from("iIII", data)
        name = data[16 : 16 + length].rstrip(b"\\0").decode()
        print(names.get(mask & 0xFFFF), places[watch], name, flush=True)
        data = data[16 + length :]
"""


@pytest.fixture(scope="module")
def site(debian_system: System) -> Path:
    """A directory of the system's user."""
    base = debian_system.base / "site"
    (base / "sub").mkdir(parents=True)
    (base / "index.html").write_text("first")
    (base / "watch.py").write_text(WATCHER)
    for path in (base, *base.rglob("*")):
        os.chown(path, owner(debian_system), owner(debian_system))
    return base


@pytest.fixture(scope="module")
def server(debian_system: System, site: Path) -> Iterator[str]:
    """Serves the directory, which it has twice: read-only and watched, and writable by uid 33 as the owner."""
    binds = ["--mount", f"type=bind,source={site},target=/site,readonly,inotify"]
    binds += ["--mount", f"type=bind,source={site},target=/mine,uid=33,gid=34"]
    serve = ("python3", "-m", "http.server", "-d", "/site", "8000")
    options = ("-d", "--name", "site", "-c", "1", "-m", "512m", "-p", f"127.0.0.1:{PORT}:8000", *binds)
    debian_system.run("run", *options, "nginx:debian", *serve)
    yield f"http://127.0.0.1:{PORT}"
    debian_system.run("delete", "-f", "site")


def fetch(url: str) -> str:
    """A page, or why there is none."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())
    except OSError as error:
        return str(error)


def test_a_web_server_serves_a_directory_of_the_host_as_it_is_now(server: str, site: Path) -> None:
    assert settle(lambda: fetch(f"{server}/index.html"), lambda text: text == "first", 90) == "first"
    (site / "index.html").write_text("second")
    assert fetch(f"{server}/index.html") == "second"


def test_the_sources_owner_is_another_one_inside(debian_system: System, server: str, site: Path) -> None:
    assert server
    script = "stat -c %u:%g /mine /mine/index.html; id -u; touch /mine/made; mkdir /mine/dir; stat -c %u:%g /mine/made"
    told = debian_system.output("exec", "-u", "33:34", "site", "sh", "-c", script)
    assert told.split() == ["33:34", "33:34", "33", "33:34"]
    assert {path.stat().st_uid for path in (site / "made", site / "dir")} == {owner(debian_system)}


def test_changes_of_the_host_are_told_to_inotify_inside(debian_system: System, server: str, site: Path) -> None:
    assert server
    script = "python3 /site/watch.py /site /site/sub /site/index.html > /tmp/events & echo started"
    assert debian_system.output("exec", "-d", "site", "sh", "-c", script) != ""

    def events() -> list[str]:
        return debian_system.run("exec", "site", "cat", "/tmp/events", check=False).stdout.splitlines()

    def told(*wanted: str) -> None:
        seen = settle(events, lambda lines: set(wanted) <= set(lines), 60)
        assert set(wanted) <= set(seen), seen

    told("ready")
    with (site / "index.html").open("a") as page:
        page.write("third")
    told("modify /site index.html", "modify /site/index.html ")
    (site / "sub/new").write_text("x")
    told("modify /site/sub new", "attrib /site/sub ")
    (site / "sub/new").chmod(0o700)
    told("attrib /site/sub new")
    before = events().count("attrib /site/sub ")
    (site / "sub/new").unlink()
    assert (
        settle(events, lambda lines: lines.count("attrib /site/sub ") > before, 60).count("attrib /site/sub ") > before
    )
    (site / "made-by-host").write_text("x")
    (site / "made-by-host").rename(site / "renamed")
    told("modify /site renamed")
    quiet = events()
    assert len(quiet) < 60  # no event begets another
    assert (site / "index.html").stat().st_mtime < 4e9


BUILD = """
set -e
export HOME=/tmp GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
cd /work
git clone -q origin clone 2>&1
cd clone
gcc -c greet.c
gcc -c main.c
gcc -o hello main.o greet.o
./hello
git status --porcelain | sort | tr '\\n' ' '
"""


@pytest.mark.skipif(not all(map(shutil.which, ("git", "gcc"))), reason="git and a C compiler of the host are needed")
def test_a_clone_and_build_inside_leaves_files_of_the_user(debian_system: System) -> None:
    """By the host's own tools: the image is of the host's distribution, and sees its /usr read-only."""
    system = debian_system
    work = system.base / "project"
    (work / "origin").mkdir(parents=True)
    (work / "origin/main.c").write_text('void greet(const char *);\nint main(void) { greet("world"); }\n')
    (work / "origin/greet.c").write_text(
        '#include <stdio.h>\nvoid greet(const char *name) { printf("hello, %s\\n", name); }\n'
    )
    git = ("git", "-C", str(work / "origin"), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run([*git, *words], check=True, capture_output=True)
    for path in (work, *work.rglob("*")):
        os.chown(path, owner(system), owner(system))
    binds = ("-v", "/usr:/usr:ro", "-v", f"{work}:/work:uid=1000,gid=1000", "--user", "1000:1000")
    run = ("run", "--rm", "--progress", "none", "-c", "1", "-m", "512m", *binds, "nginx:debian", "sh", "-c", BUILD)
    assert system.output(*run, timeout=240) == "hello, world\n?? greet.o ?? hello ?? main.o "
    assert {path.lstat().st_uid for path in work.rglob("*")} == {owner(system)}
