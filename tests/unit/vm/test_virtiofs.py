"""File servers: how they are confined, and that they end with whom they serve."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from container.errors import ContainerError, ErrorCode
from container.vm import virtiofs


def only(monkeypatch: pytest.MonkeyPatch, server: str | None, uid: int = 0) -> None:
    """Have one server installed, and be a certain user."""
    monkeypatch.setattr(os, "access", lambda path, mode: path == server)
    monkeypatch.setattr(os, "getuid", lambda: uid)


def test_the_c_server_is_confined_to_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "/usr/lib/qemu/virtiofsd")
    words = virtiofs.arguments("/src", 7, virtiofs.Terms())
    assert os.path.basename(words[0]) == "container-share"
    assert words[1:4] == ["/src", "--", "/usr/lib/qemu/virtiofsd"]
    assert {"--fd=7", "source=/tmp/share", "sandbox=namespace", "modcaps=-mknod", "timeout=0"} <= set(words)


def test_the_rust_server_is_preferred_and_speaks_its_own_options(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "/usr/libexec/virtiofsd")
    words = virtiofs.arguments("/src", 7, virtiofs.Terms())
    assert {"--fd=7", "--shared-dir=/tmp/share", "--sandbox=namespace", "--modcaps=-mknod", "--cache=never"} <= set(
        words
    )
    assert "-o" not in words


def test_a_cached_share_asks_the_host_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "/usr/libexec/virtiofsd")
    assert "--cache=auto" in virtiofs.arguments("/src", 7, virtiofs.Terms(cached=True))
    only(monkeypatch, "/usr/lib/qemu/virtiofsd")
    assert "timeout=1" in virtiofs.arguments("/src", 7, virtiofs.Terms(cached=True))


def test_ids_and_watching_are_for_the_confinement_not_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "/usr/libexec/virtiofsd")
    words = virtiofs.arguments("/src", 7, virtiofs.Terms(uid=1000, gid=0, watched=True), 9)
    assert words[1:5] == ["--uid=1000", "--gid=0", "--watch=9", "/src"]


def test_read_only_does_not_depend_on_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for server in (virtiofs.RUST_SERVERS[0], virtiofs.C_SERVERS[0]):
        only(monkeypatch, server)
        assert virtiofs.arguments("/src", 7, virtiofs.Terms(read_only=True))[1:4] == ["--read-only", "/src", "--"]


def test_an_ordinary_user_serves_from_a_user_namespace_with_subordinate_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "/usr/lib/qemu/virtiofsd", uid=1000)
    monkeypatch.setattr(virtiofs, "find", lambda name: f"/usr/bin/{name}")
    words = virtiofs.arguments("/src", 7, virtiofs.Terms())
    assert words[:4] == ["/usr/bin/unshare", "--map-root-user", "--map-auto", "--"]


def test_without_a_server_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, None)
    with pytest.raises(ContainerError, match="virtiofsd is not installed") as caught:
        virtiofs.arguments("/src", 7, virtiofs.Terms())
    assert caught.value.code is ErrorCode.UNSUPPORTED


async def test_a_source_that_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, code in (("none", ErrorCode.NOT_FOUND), ("fifo", ErrorCode.UNSUPPORTED)):
        with pytest.raises(ContainerError) as caught:
            async with virtiofs.serve(str(tmp_path / name), "t", virtiofs.Terms(), directory=str(tmp_path)):
                pass
        assert caught.value.code is code


async def test_a_server_ends_with_its_only_connection_and_leaves_no_socket(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    async with AsyncExitStack() as stack:
        serving = virtiofs.serve(str(tmp_path / "src"), "t", virtiofs.Terms(read_only=True), directory=str(tmp_path))
        server = await stack.enter_async_context(serving)
        assert sorted(os.listdir(tmp_path)) == ["src"]
        assert not server.is_file
        assert server.failure() is None
        with socket.socket(fileno=os.dup(server.share.socket)) as copy:
            server.handed_over()
            assert copy.getpeername()
        failure = await virtiofs.first_failure([server])
    assert str(tmp_path / "src") in failure.message


SERVERS = {  # what a server does, and why its share has failed then
    "echo 'cannot do it' >&2; exit 1": "failed: cannot do it",
    "exit 3": "failed: the file server ended with status 3",
    # one of its threads is gone, the others wait
    "printf '\\nthread '\\''<unnamed>'\\'' panicked at src/fs.rs:7:9:\\nNulError\\n' >&2; exec sleep 1000": (
        "failed: a thread of its server panicked: thread '<unnamed>' panicked at src/fs.rs:7:9: NulError"
    ),
}


@pytest.mark.parametrize(("script", "reason"), SERVERS.items())
async def test_a_server_that_fails_or_loses_a_thread_is_ended_and_tells_why(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(virtiofs, "arguments", lambda *terms: ["sh", "-c", script])
    async with virtiofs.serve(str(tmp_path), "t", virtiofs.Terms(), directory=str(tmp_path)) as server:
        failure = await asyncio.wait_for(virtiofs.first_failure([server]), 60)
    assert failure.message.startswith(f"the share {tmp_path} {reason}")
    assert ("NulError" in caplog.text) == ("NulError" in reason)
