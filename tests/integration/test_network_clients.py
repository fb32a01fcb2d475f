"""Whose address a container sees at a published port; each test as root and as an ordinary user."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import nethelper, netlab, ordinary
from support.nethelper import FAR, FAR_IPV6, OUTSIDE, OUTSIDE_IPV6, Helper

from container.linux.netns import Namespace

GATEWAY = "192.168.64.1"
TELL = """
import socket, sys, threading
def families():
    return [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in sys.argv[1:]]
def datagrams(sock):
    while True:
        data, peer = sock.recvfrom(100)
        sock.sendto(peer[0].encode(), peer)
def streams(listener):
    while True:
        sock, peer = listener.accept()
        with sock:
            sock.sendall(peer[0].encode() + sock.recv(100))
for family, address in families():
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.bind((address, 80))
    threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
    threading.Thread(target=streams, args=(socket.create_server((address, 80), family=family),), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
ASK = """
import socket, sys
source, target, port, kind = sys.argv[1:]
family = socket.AF_INET6 if ":" in target else socket.AF_INET
with socket.socket(family, getattr(socket, kind)) as sock:
    sock.settimeout(20)
    if source:
        sock.bind((source, 0))
    sock.connect((target, int(port)))
    sock.send(b"")
    if kind == "SOCK_STREAM":
        sock.shutdown(socket.SHUT_WR)
    print(sock.recv(100).decode())
"""
RELAY = """
import asyncio, sys
from container.linux.ports import bind_ports
from container.linux.relay import start_relay
from container.model.port import PublishPort

async def main(netns, userns, ipv4, ipv6, *near):
    wanted = [PublishPort(host, 0, 80, proto=proto) for host in ("0.0.0.0", "::") for proto in ("tcp", "udp")]
    bound = bind_ports(wanted)
    ports = [sock.getsockname()[1] for sock, _ in bound.sockets]
    fds = {"netns": int(netns), "userns": int(userns) if userns else None}
    async with start_relay(bound, ipv4=ipv4, ipv6=ipv6, near=near, **fds) as relay:
        keeping = asyncio.create_task(relay.keep())
        print(relay.pid, *ports, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        keeping.cancel()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["root", "ordinary-user"])
def host(request: pytest.FixtureRequest) -> Iterator[Helper]:
    if os.geteuid() != 0:
        pytest.skip("makes hosts of its own, which needs root")
    netlab.require_namespaces()
    with nethelper.host(None if request.param == "root" else ordinary.make_user()) as made:
        yield made


@dataclass
class Street:
    """A container with published ports, the host, and somebody far away."""

    host: Helper
    far: Namespace
    relay: int
    ports: dict[tuple[str, str], int]

    def seen_from_far(self, source: str, kind: str = "SOCK_STREAM") -> str:
        """Whom the container sees when a client asks from one of the far end's addresses."""
        port = self._port(source, kind)
        target = OUTSIDE_IPV6 if ":" in source else OUTSIDE
        return netlab.output(self.far, sys.executable, "-c", ASK, source, target, port, kind).strip()

    def seen_from_host(self, target: str, kind: str = "SOCK_STREAM") -> str:
        """The same for a client on the host that asks at one of the host's addresses."""
        words = self.host.inside(sys.executable, "-c", ASK, "", target, self._port(target, kind), kind)
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def _port(self, address: str, kind: str) -> str:
        return str(self.ports["::" if ":" in address else "0.0.0.0", kind])


@contextlib.contextmanager
def relaying(host: Helper, lease: nethelper.Lease) -> Iterator[tuple[int, dict[tuple[str, str], int]]]:
    """The relay as the runtime helper runs it, on the helper's host: its process, and the ports."""
    attachment, userns = lease["attachment"], lease["userns"]
    fds = [lease["netns"].fileno()] + ([] if userns is None else [userns.fileno()])
    near = [attachment.ipv4_address, attachment.ipv6_address or ""]
    arguments = [str(fds[0]), "" if userns is None else str(fds[1])]
    arguments += [address.partition("/")[0] for address in near] + near
    words = host.inside(sys.executable, "-c", RELAY, *arguments)
    with subprocess.Popen(words, pass_fds=fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            relay, *ports = map(int, process.stdout.readline().split())
            ends = [(address, kind) for address in ("0.0.0.0", "::") for kind in ("SOCK_STREAM", "SOCK_DGRAM")]
            yield relay, dict(zip(ends, ports, strict=True))
        finally:
            process.stdin.close()
            process.wait()


@contextlib.contextmanager
def container(host: Helper, lease: nethelper.Lease) -> Iterator[None]:
    """A guest that tells on port 80 who asks, by IPv4 and IPv6."""
    attachment = lease["attachment"]
    assert attachment.ipv6_address is not None
    assert attachment.ipv6_gateway is not None
    addresses = [address.partition("/")[0] for address in (attachment.ipv4_address, attachment.ipv6_address)]
    words = [sys.executable, "-c", TELL, *addresses]
    with host.guest(lease) as guest:
        netlab.output(guest, "ip", "addr", "add", attachment.ipv6_address, "dev", "eth0", "nodad")
        netlab.output(guest, "ip", "route", "add", "default", "via", attachment.ipv6_gateway)
        with netlab.popen(guest, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            with server.stdin:
                assert server.stdout.readline() == "ready\n"
                yield


@pytest.fixture
async def street(host: Helper) -> AsyncIterator[Street]:
    with nethelper.far_away(host) as far:
        await host.start()
        async with host.attached("a") as lease:
            with container(host, lease), relaying(host, lease) as (relay, ports):
                yield Street(host, far, relay, ports)
        await host.stop()


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
async def test_a_container_sees_the_clients_address(street: Street, kind: str) -> None:
    assert street.seen_from_far(FAR, kind) == FAR
    assert street.seen_from_far(FAR_IPV6, kind) == FAR_IPV6
    assert street.seen_from_host(OUTSIDE, kind) == OUTSIDE


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
async def test_clients_whose_address_means_another_to_the_container_have_the_gateways(
    street: Street, kind: str
) -> None:
    assert street.seen_from_host("127.0.0.1", kind) == GATEWAY
    assert street.seen_from_host("::1", kind).endswith("::1")
    netlab.output(street.far, "ip", "addr", "add", "192.168.64.77/32", "dev", "far")
    on_host = Namespace.of(street.host.host)
    with on_host:
        netlab.output(on_host, "ip", "route", "add", "192.168.64.77/32", "dev", "outside")
    assert street.seen_from_far("192.168.64.77", kind) == GATEWAY


async def test_the_rules_come_back_with_the_helper_and_the_relay_by_itself(street: Street) -> None:
    street.host.kill()
    assert street.seen_from_far(FAR) == FAR
    await street.host.start()
    os.kill(street.relay, signal.SIGKILL)
    assert await asyncio.to_thread(street.seen_from_far, FAR) == FAR  # waits in the backlog meanwhile
    assert not Path(f"/proc/{street.relay}").exists()
