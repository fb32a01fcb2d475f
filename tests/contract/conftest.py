"""The real agent as a process of this machine, on a socketpair."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

import container
from container.guest.client import GuestClient
from container.model.process import ProcessConfiguration, Rlimit, User

Connect = Callable[..., AbstractAsyncContextManager[GuestClient]]


def agent_binary() -> str:
    """The agent under test: `CONTAINER_AGENT`, or the one that `make -C guest` built."""
    default = os.path.join(os.path.dirname(container.__file__), "_native", "container-agent")
    return os.environ.get("CONTAINER_AGENT") or default


def process(
    *command: str, terminal: bool = False, env: list[str] | None = None, **more: object
) -> ProcessConfiguration:
    """A process configuration for tests."""
    values: dict[str, object] = {"working_directory": "/", "user": User(uid=0, gid=0), **more}
    return ProcessConfiguration(
        executable=command[0],
        arguments=list(command[1:]),
        environment=env if env is not None else ["PATH=/usr/bin:/bin"],
        terminal=terminal,
        **values,  # type: ignore[arg-type]
    )


def rlimit(name: str, soft: int, hard: int) -> Rlimit:
    """An rlimit for tests."""
    return Rlimit(name, soft, hard)


@pytest.fixture
def agent_socket(tmp_path: Path) -> Iterator[Callable[..., socket.socket]]:
    """Start an agent; the host's end of its channel. At the end every agent must be gone by itself."""
    binary = agent_binary()
    if not os.path.exists(binary):
        pytest.skip(f"no agent at {binary}: run make -C guest")
    started: list[tuple[subprocess.Popen[bytes], socket.socket]] = []

    def start(*arguments: str, before: str = "") -> socket.socket:
        host, guest = socket.socketpair()
        state = tmp_path / f"state{len(started)}"
        command = [binary, "--fd", str(guest.fileno()), "--state", str(state), *arguments]
        if before:  # a shell command in a network namespace of the agent's own
            command = ["unshare", "-n", "sh", "-c", f'{before}; exec "$@"', "sh", *command]
        child = subprocess.Popen(command, pass_fds=[guest.fileno()], stdin=subprocess.DEVNULL)
        guest.close()
        started.append((child, host))
        return host

    yield start
    for child, host in started:
        host.close()
        assert child.wait(20) in (0, 1)


@pytest.fixture
def plain(agent_socket: Callable[..., socket.socket]) -> Connect:
    """Connect to an agent whose processes run without namespaces."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[GuestClient]:
        async with GuestClient.connect(agent_socket("--plain"), timeout=20) as client:
            yield client

    return connect


@pytest.fixture
def isolated(agent_socket: Callable[..., socket.socket]) -> Connect:
    """Connect to an agent that makes real containers (needs root)."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

    @asynccontextmanager
    async def connect() -> AsyncIterator[GuestClient]:
        async with GuestClient.connect(agent_socket(), timeout=20) as client:
            yield client

    return connect


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with busybox and a few users."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox")
    root = tmp_path_factory.mktemp("root")
    root.chmod(0o755)  # pytest makes it private; it is the container's root directory
    for name in ("bin", "etc", "root", "tmp"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    for line in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if line != "busybox":
            (root / "bin" / line).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\napp:x:1001:\nweb:x:33:app\nlog:x:44:root,app\n")
    (root / "etc/resolv.conf").symlink_to("../run/stub.conf")
    (root / "bin/script").write_text("no shebang\n")
    (root / "bin/script").chmod(0o755)
    (root / "bin/plain").write_text("x")
    return root


async def output_of(client: GuestClient, *command: str, **more: object) -> tuple[int, str]:
    """Exit code and output of an exec."""
    from container.guest.streams import relay

    chunks: list[bytes] = []
    started = await client.start_exec(f"exec-{os.urandom(4).hex()}", process(*command, **more))  # type: ignore[arg-type]
    code = await asyncio.wait_for(relay(started, tee=lambda data, _: chunks.append(data)), 20)
    return code, b"".join(chunks).decode()
