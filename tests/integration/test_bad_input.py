"""Bad input: a clear error, the right exit code, nothing left behind."""

import io
import json
import socket
import tarfile
from pathlib import Path

import pytest
from support import images
from support.system import System

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]
SMALL = ("-m", "256m", "-c", "1")


def _ids(system: System) -> set[str]:
    return set(system.output("list", "-a", "-q").split())


def test_an_image_that_is_not_there(system: System) -> None:
    before = _ids(system)
    result = system.run("run", "--rm", "localhost/no/such:image", check=False)
    assert result.returncode == 1
    assert "no/such:image" in result.stderr
    assert _ids(system) == before


def test_a_corrupt_archive(system: System, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.tar"
    garbage.write_bytes(b"this is no archive" * 1000)
    with garbage.open("rb") as stream:
        result = system.run("image", "load", stdin=stream, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")


def test_a_truncated_archive(system: System) -> None:
    whole = images.busybox().read_bytes()
    result = system.run("image", "load", input=whole[: len(whole) // 2], text=False, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(b"Error: ")


def test_a_layer_whose_digest_lies(system: System, tmp_path: Path) -> None:
    lying = io.BytesIO()
    with tarfile.open(images.busybox()) as source, tarfile.open(fileobj=lying, mode="w") as target:
        members = source.getmembers()
        largest = max(members, key=lambda member: member.size)
        for member in members:
            stream = source.extractfile(member)
            assert stream is not None
            data = bytearray(stream.read())
            if member is largest:
                data[len(data) // 2] ^= 1
            if member.name == "index.json":
                index = json.loads(data)
                index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "localhost/lying:1"}
                data = bytearray(json.dumps(index).encode())
                member.size = len(data)
            target.addfile(member, io.BytesIO(bytes(data)))
    names = system.output("image", "list", "-q")
    result = system.run("image", "load", input=lying.getvalue(), text=False, check=False)
    assert result.returncode == 1
    assert b"digest" in result.stderr
    assert system.output("image", "list", "-q") == names


def test_a_name_that_is_taken(system: System, box: str) -> None:
    result = system.run("run", "--name", box, *SMALL, "busybox", "true", check=False)
    assert result.returncode == 1
    assert box in result.stderr
    assert "exists" in result.stderr
    assert system.state(box) == "running"


def test_a_port_in_use(system: System) -> None:
    before = _ids(system)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ("run", "-d", "-p", f"127.0.0.1:{port}:80", *SMALL, "busybox", "sleep", "10")
        result = system.run(*arguments, check=False)
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert _ids(system) == before


def test_a_kernel_that_does_not_boot(system: System, tmp_path: Path) -> None:
    kernel = system.base / "broken-kernel"
    kernel.write_bytes(b"\x7fELF" + b"\0" * 4096)
    kernel.chmod(0o644)
    before = _ids(system)
    result = system.run("run", "--rm", "-k", str(kernel), *SMALL, "busybox", "true", check=False, timeout=200)
    assert result.returncode == 1
    assert "Error: " in result.stderr
    assert _ids(system) == before


def test_command_line_errors_have_their_exit_code(system: System) -> None:
    result = system.run("run", "--nope", "busybox", check=False)
    assert result.returncode == 64
    assert "Unknown option '--nope'" in result.stderr
    assert system.run("run", check=False).returncode == 64
    assert system.run("delete", check=False).returncode == 1


def test_services_not_running(system: System, tmp_path: Path) -> None:
    result = system.run("list", check=False, env={"CONTAINER_RUN_ROOT": str(tmp_path)})
    assert result.returncode == 1
    assert "container system start" in result.stderr


def test_unknown_ids(system: System) -> None:
    for arguments in (
        ("inspect", "nobody-here"),
        ("start", "nobody-here"),
        ("exec", "nobody-here", "true"),
        ("logs", "nobody-here"),
        ("stop", "nobody-here"),
        ("delete", "nobody-here"),
    ):
        result = system.run(*arguments, check=False)
        assert result.returncode == 1, arguments
        assert "nobody-here" in result.stderr, arguments
