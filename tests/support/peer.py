"""The static peer program for containers, and what tests need to talk to it."""

import contextlib
import functools
import hashlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.images import CACHE
from support.system import System

SOURCE = Path(__file__).with_name("peer.c")


@functools.cache
def program() -> bytes:
    """The program, compiled once for each version of its source."""
    target = CACHE.parent / f"peer-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(".new")
        subprocess.run(["cc", "-O1", "-static", "-o", str(fresh), str(SOURCE)], check=True)
        fresh.rename(target)
    return target.read_bytes()


def install(system: System, container: str) -> None:
    """Put it into a running container, as /bin/peer."""
    script = "cat > /bin/peer && chmod 755 /bin/peer"
    system.run("exec", "-i", container, "sh", "-c", script, input=program(), text=False)


def ask_tcp(address: str, port: int, question: bytes) -> bytes:
    """Send, end, and read to the end."""
    with socket.create_connection((address, port), timeout=20) as sock:
        return _ask(sock, question)


def ask_unix(path: str, question: bytes) -> bytes:
    """Send, end, and read to the end."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        return _ask(sock, question)


def _ask(sock: socket.socket, question: bytes) -> bytes:
    sock.sendall(question)
    sock.shutdown(socket.SHUT_WR)
    answer = bytearray()
    while piece := sock.recv(1 << 16):
        answer += piece
    return bytes(answer)


def ask_udp(address: str, port: int, question: bytes) -> bytes:
    """One datagram there and one back, asked again as UDP clients do."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect((address, port))
        for _ in range(10):
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                sock.send(question)
                return sock.recv(1 << 16)
    raise AssertionError(f"no answer from [{address}]:{port}/udp")


@contextlib.contextmanager
def ssh_agent(system: System, directory: Path) -> Iterator[str]:
    """An agent of the system's user with one key, whose comment is `a-test-key`; the path of its socket."""
    path, key = directory / "agent.sock", directory / "key"
    prefix = system.command()[:-1]
    subprocess.run(
        [*prefix, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a-test-key", "-f", str(key)], check=True
    )
    command = [*prefix, "ssh-agent", "-D", "-a", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=system.environment, text=True) as agent:
        assert agent.stdout is not None
        try:
            assert str(path) in agent.stdout.readline()
            environment = system.environment | {"SSH_AUTH_SOCK": str(path)}
            subprocess.run([*prefix, "ssh-add", "-q", str(key)], check=True, env=environment)
            yield str(path)
        finally:
            agent.terminate()
            for left in (path, key, key.with_suffix(".pub")):
                left.unlink(missing_ok=True)
