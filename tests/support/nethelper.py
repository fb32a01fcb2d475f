"""The real network helper, in a host of its own: a namespace with one outside address and private /dev/net/tun."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from container.api.network import Lease, Network
from container.ipc import address
from container.ipc.client import Client
from container.linux.netns import Namespace
from container.model.network import AttachmentOptions
from container.paths import Roots, network_service
from support import netlab

OUTSIDE, FAR = "10.99.0.1", "10.99.0.9"
OUTSIDE_IPV6, FAR_IPV6 = "fd99::1", "fd99::9"
_HOST = f"""
set -e
mount --make-rprivate /
mknod -m $TUN_MODE $BASE/tun c 10 200
mount --bind $BASE/tun /dev/net/tun
echo nameserver {OUTSIDE} > $BASE/resolv.conf
mount --bind $BASE/resolv.conf /etc/resolv.conf
ip link set lo up
ip link add outside type veth peer name far
ip addr add {OUTSIDE}/24 dev outside
ip addr add {OUTSIDE_IPV6}/64 dev outside nodad
ip link set outside up
ip link set far up
ip route add default dev outside
echo ready
exec sleep 3600
"""


class Helper:
    """A network helper as `user` (None: root), which can be killed and started again."""

    def __init__(self, base: Path, host: int, user: str | None, network: str = "default") -> None:
        self.base, self.host, self.user, self.network = base, host, user, network
        self.roots = Roots(app=f"{base}/app", run=f"{base}/run", install="/usr", log=f"{base}/log", config="")
        self.socket = self.roots.socket(network_service("container-network-bridge", network))
        self.client = Client(self.socket, timeout=30)
        self.log = base / f"{network}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {"PATH": "/usr/bin:/bin", **self.roots.environment()}

    def inside(self, *argv: str) -> list[str]:
        """The argv that runs a program on the helper's host, as its user."""
        argv = ("nsenter", "-t", str(self.host), "-n", "-m", "--", *self._as_user(), *argv)
        return list(argv)

    def _as_user(self) -> list[str]:
        if self.user is None:
            return []
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]

    async def start(self, *options: str, mode: str = "nat") -> None:
        """Start it and wait until it serves."""
        service = network_service("container-network-bridge", self.network)
        arguments = ["start", "--id", self.network, "--service-identifier", service, "--mode", mode, *options]
        command = self.inside(sys.executable, "-m", "container.plugins.network.main", *arguments)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stderr=log, cwd="/")
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(Exception):
                await self.client.call(Network.Status)
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def stop(self) -> None:
        """End it in order."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        assert await asyncio.to_thread(self.process.wait, 60) == 0, self.log.read_text()

    def state(self) -> dict[str, Any]:
        """What it has on disk."""
        return json.loads(Path(self.roots.run, f"networks/{self.network}.json").read_text())  # type: ignore[no-any-return]

    @contextlib.asynccontextmanager
    async def attached(self, container: str, **options: Any) -> AsyncIterator[Lease]:
        """An attachment, whose descriptors are closed at the end."""
        wanted = AttachmentOptions(**{"hostname": container} | options)
        async with self.client.stream(Network.Attach, container=container, options=wanted) as leases:
            lease = await anext(aiter(leases))
            try:
                yield lease
            finally:
                for name in ("tap", "netns", "userns"):
                    descriptor = lease[name]  # type: ignore[literal-required]
                    if descriptor is not None:
                        descriptor.close()

    def another(self, network: str) -> "Helper":
        """The helper of another network of the same system."""
        return Helper(self.base, self.host, self.user, network)

    @contextlib.contextmanager
    def guest(self, lease: Lease, name: str = "guest0") -> Iterator[Namespace]:
        """A guest by a veth pair that has the lease's address."""
        userns = lease["userns"]
        namespace = Namespace(lease["netns"].fileno(), None if userns is None else userns.fileno())
        attachment = lease["attachment"]
        with netlab.veth_guest(namespace, name, attachment.ipv4_address, attachment.ipv4_gateway) as guest:
            yield guest


def processes_of(base: Path) -> list[str]:
    """Processes that were started with `base` in their environment and have not ended."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if bytes(base) + b"/run" in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_text()}")
    return found


@contextlib.contextmanager
def host(user: str | None, tun_mode: str = "0666") -> Iterator[Helper]:
    """A host with a helper that is not started yet; in the end no process of the helper may be left. Only for root."""
    base = Path(tempfile.mkdtemp(prefix="container-net-"))
    environment = {**os.environ, "BASE": str(base), "TUN_MODE": tun_mode}
    if user is not None:
        shutil.chown(base, user, user)
    command = ["unshare", "-n", "-m", "sh", "-c", _HOST]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            with _connecting_as(user):
                yield Helper(base, process.pid, user)
            assert not processes_of(base)
        finally:
            for line in processes_of(base):  # after a failure
                os.kill(int(line.split()[0]), signal.SIGKILL)
            process.kill()
            process.wait()
            shutil.rmtree(base)


@contextlib.contextmanager
def _connecting_as(user: str | None) -> Iterator[None]:
    """Let clients connect as the helper's user: root trusts no other user's server."""
    if user is None:
        yield
        return

    def connect(path: str, sock: Any) -> None:
        os.seteuid(pwd.getpwnam(user).pw_uid)
        try:
            connect_service(path, sock)
        finally:
            os.seteuid(0)

    connect_service = address.connect_service
    with mock.patch.object(address, "connect_service", connect):
        yield


@contextlib.contextmanager
def far_away(helper: Helper) -> Iterator[Namespace]:
    """A machine behind the host's outside address, with the addresses FAR and FAR_IPV6 on its interface `far`."""
    on_host = ["nsenter", "-t", str(helper.host), "-n", "--"]
    command = [*on_host, "unshare", "-n", "sh", "-c", "echo ready; exec sleep 600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            subprocess.run([*on_host, "ip", "link", "set", "far", "netns", str(process.pid)], check=True)
            with Namespace.of(process.pid) as namespace:
                for line in ("link set lo up", "link set far up", f"addr add {FAR}/24 dev far"):
                    netlab.output(namespace, "ip", *line.split())
                netlab.output(namespace, "ip", "addr", "add", f"{FAR_IPV6}/64", "dev", "far", "nodad")
                yield namespace
        finally:
            process.kill()
