"""Who is at the other end: a client says nothing to a server that another user may run."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.ipc import quick
from container.ipc.client import Client
from container.ipc.server import serve
from container.paths import SUPERVISOR, Roots

from .conftest import SERVICE, Probe, ProbeHandler, serving

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs another user")

# Listens, lets everybody in, and writes what it is sent until the client goes.
LISTENER = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
s.listen()
print("ready", flush=True)
print("got", s.accept()[0].recv(100), flush=True)
"""


async def _quick(path: str) -> object:
    return await asyncio.to_thread(quick.call, path, "io.container.test.Probe.Echo", {"text": "secret"})


async def _typed(path: str) -> object:
    return await Client(path).call(Probe.Echo, text="secret")


clients = pytest.mark.parametrize("call", [_quick, _typed])


@contextmanager
def listening_as_nobody(path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of another user at `path`, whose directory is that user's for as long as it takes to bind."""
    path.parent.mkdir(mode=0o777)
    os.chown(path.parent, NOBODY, NOBODY)
    argv = [*AS_NOBODY, "/usr/bin/python3", "-c", LISTENER, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            yield server
        finally:
            server.kill()


@pytest.mark.root
@needs_root
@clients
async def test_nothing_is_sent_to_a_server_of_another_user(
    public_roots: Roots, call: Callable[[str], Awaitable[object]]
) -> None:
    path = Path(public_roots.socket(SERVICE))
    with listening_as_nobody(path) as server:
        with pytest.raises(
            ContainerError, match=f"cannot use the run root .* belongs to another user, .* {NOBODY}"
        ) as caught:
            await call(str(path))
        assert caught.value.code is ErrorCode.UNAUTHENTICATED
        os.chown(path.parent, os.getuid(), os.getgid())
        path.parent.chmod(0o700)
        with pytest.raises(ContainerError, match=f"cannot talk to the server at .* runs it, with the uid {NOBODY}"):
            await call(str(path))
        assert server.stdout is not None
        assert await asyncio.to_thread(server.stdout.readline) == b"got b''\n"


@clients
async def test_a_run_root_that_others_may_enter_is_an_error(
    roots: Roots, call: Callable[[str], Awaitable[object]]
) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        for mode in (0o710, 0o701, 0o777):
            os.chmod(roots.run, mode)
            with pytest.raises(ContainerError, match=f"open to other users .*{mode:04o}.*chmod 700 {roots.run}"):
                await call(path)
        os.chmod(roots.run, 0o700)
        await call(path)


@clients
async def test_a_run_root_that_is_a_link_is_an_error(
    roots: Roots, tmp_path: Path, call: Callable[[str], Awaitable[object]]
) -> None:
    async with serving(roots, ProbeHandler()) as (_, path):
        (tmp_path / "link").symlink_to(roots.run)
        with pytest.raises(ContainerError, match="is not a directory; have it removed, or set CONTAINER_RUN_ROOT"):
            await call(str(tmp_path / "link" / os.path.basename(path)))


@pytest.mark.root
@needs_root
async def test_a_run_root_of_somebody_else_is_not_served_in(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    os.chown(run, NOBODY, NOBODY)
    with pytest.raises(ContainerError, match="belongs to another user"):
        await serve([], service=SERVICE, roots=Roots("a", str(run), "i", "l", "c"))


SHOW = "from container.paths import usual_run_root; print(usual_run_root())"


def _usual_run_root(*prefix: str, **environment: str) -> str:
    argv = [*prefix, *AS_NOBODY, sys.executable, "-c", SHOW]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.root
@needs_root
def test_the_usual_run_root_is_where_only_the_user_may_make_it(public_roots: Roots) -> None:
    theirs = os.path.dirname(public_roots.run)
    assert _usual_run_root(XDG_RUNTIME_DIR=theirs) == f"/tmp/container-{NOBODY}", "what su(1) leaves is another user's"
    os.chown(theirs, NOBODY, NOBODY)
    assert _usual_run_root(XDG_RUNTIME_DIR=theirs) == f"{theirs}/container"


@pytest.mark.root
@needs_root
def test_the_users_runtime_directory_is_found_without_its_variable() -> None:
    own, old = f"/run/user/{NOBODY}", f"/tmp/container-{NOBODY}"
    script = f'mount -t tmpfs t /run && mkdir -p {own} && chown {NOBODY} {own} && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]
    assert _usual_run_root(*prefix) == f"{own}/container"
    os.mkdir(old)
    try:
        Path(old, SUPERVISOR).touch()
        assert _usual_run_root(*prefix) == f"{own}/container", "a stranger's is not taken"
        os.chown(old, NOBODY, -1)
        assert _usual_run_root(*prefix) == old, "a system that was started before is still found"
    finally:
        shutil.rmtree(old)
