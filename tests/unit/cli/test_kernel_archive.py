"""Kernels out of archives."""

import hashlib
import http.server
import io
import tarfile
import threading
from pathlib import Path

import pytest

from container.cli.progress import Progress
from container.cli.system import kernel_archive
from container.errors import ContainerError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A compressed archive with a kernel behind a link."""
    path = tmp_path / "kernel.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("./opt/kata/vmlinux-6.1")
        member.size = 6
        tar.addfile(member, io.BytesIO(b"kernel"))
        for name, target in (("./opt/kata/vmlinux", "vmlinux-6.1"), ("./opt/loop", "loop")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return path


def _fetch(archive: Path | str, member: str, directory: Path, digest: str | None = None) -> bytes:
    return Path(kernel_archive.fetch(str(archive), member, digest, str(directory), Progress())).read_bytes()


@pytest.mark.parametrize("member", ["opt/kata/vmlinux", "/opt/kata/vmlinux-6.1", "./opt/kata/../kata/vmlinux"])
def test_links_are_followed(archive: Path, tmp_path: Path, member: str) -> None:
    assert _fetch(archive, member, tmp_path) == b"kernel"


@pytest.mark.parametrize(
    ("member", "message"),
    [("nope", "no file nope in the kernel archive"), ("opt/loop", "too many links lead to opt/loop")],
)
def test_members_that_are_not_there(archive: Path, tmp_path: Path, member: str, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        _fetch(archive, member, tmp_path)


def test_a_wrong_digest_is_refused(archive: Path, tmp_path: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert _fetch(archive, "opt/kata/vmlinux", tmp_path, found) == b"kernel"
    with pytest.raises(ContainerError) as caught:
        _fetch(archive, "opt/kata/vmlinux", tmp_path, "0" * 64)
    assert caught.value.message == (f"kernel archive digest mismatch: expected sha256:{'0' * 64}, got sha256:{found}")


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ContainerError, match=r"failed to read the kernel archive"):
        _fetch(path, "x", tmp_path)
    with pytest.raises(
        ContainerError, match=r"failed to read the kernel archive /no/archive: No such file or directory$"
    ):
        _fetch("/no/archive", "x", tmp_path)


def test_an_archive_is_downloaded(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    data = archive.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/kernel.tar" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/kernel.tar"
        try:
            assert _fetch(url, "opt/kata/vmlinux", tmp_path, hashlib.sha256(data).hexdigest()) == b"kernel"
            with pytest.raises(ContainerError, match=r"failed to download .*404"):
                _fetch(url + "x", "x", tmp_path)
        finally:
            server.shutdown()
            thread.join()
