"""The port relay, between sockets of this host's loopback and servers in a namespace of its own."""

import asyncio
import contextlib
import errno
import hashlib
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import netlab, ports
from support.guest_server import BLOCK, SIZE

from container.errors import ContainerError, ErrorCode
from container.linux.netns import Namespace
from container.linux.ports import BoundPorts, bind_ports
from container.linux.relay import Relay, start_relay
from container.model.port import PublishPort

ECHO, DIGEST, SOURCE, RESET, END_FIRST, REPORT, STUCK, NOBODY, BUSY_PORT = range(7000, 7009)
CROWD = 40


def published(container_port: int, address: str = "127.0.0.1", port: int = 0) -> PublishPort:
    """By default at a port of the kernel's choice."""
    return PublishPort(address, port, container_port)


def fixed(container_port: int) -> PublishPort:
    """At a port that can be bound again and again."""
    return published(container_port, port=ports.reserve())


@dataclass
class Lab:
    """A relay from the ports in `ports`, by container port."""

    relay: Relay
    namespace: Namespace
    ports: dict[int, int]

    def connect(self, container_port: int, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.ports[container_port]), timeout=30)


@contextlib.asynccontextmanager
async def relaying(namespace: Namespace, bound: BoundPorts, **options: int) -> AsyncIterator[Lab]:
    ports = {target: int(sock.getsockname()[1]) for sock, target in bound.sockets}
    started = start_relay(
        bound, ipv4=netlab.GATEWAY, ipv6="fd77::1", netns=namespace.netns, userns=namespace.userns, **options
    )
    async with started as relay:
        yield Lab(relay, namespace, ports)


@pytest.fixture
async def namespace() -> AsyncIterator[Namespace]:
    netlab.require_namespaces(taps=False)
    async with netlab.bridged_namespace() as made:
        with netlab.guest_server(made):
            yield made


@pytest.fixture
async def lab(namespace: Namespace) -> AsyncIterator[Lab]:
    wanted = [published(port) for port in (ECHO, DIGEST, SOURCE, RESET, END_FIRST, REPORT, STUCK, NOBODY)]
    async with relaying(namespace, bind_ports(wanted)) as made:
        yield made


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 18), b""))


def test_bytes_arrive_unchanged_in_a_large_download(lab: Lab) -> None:
    with lab.connect(SOURCE) as client:
        digest, size = hashlib.sha256(), 0
        while data := client.recv(1 << 18):
            digest.update(data)
            size += len(data)
    repeats, rest = divmod(SIZE, len(BLOCK))
    expected = hashlib.sha256(BLOCK * repeats + BLOCK[:rest])
    assert (size, digest.hexdigest()) == (SIZE, expected.hexdigest())


def test_bytes_arrive_unchanged_in_a_large_upload(lab: Lab) -> None:
    data = os.urandom(1 << 20) * 96
    with lab.connect(DIGEST) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def test_both_directions_at_once(lab: Lab) -> None:
    data = os.urandom(1 << 20) * 16
    with lab.connect(ECHO) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert read_all(client) == data
        sender.join()


def test_an_end_of_file_from_the_container_leaves_the_other_direction_open(lab: Lab) -> None:
    with lab.connect(END_FIRST) as client:
        assert client.recv(1) == b""
        client.sendall(b"after the end" * 1000)
        client.shutdown(socket.SHUT_WR)
        with lab.connect(REPORT) as reporter:
            digest = hashlib.sha256(b"after the end" * 1000).hexdigest()
            assert read_all(reporter).decode() == f"13000 {digest}"


def test_the_rules_of_the_network_know_a_half_closed_connection_for_hours(lab: Lab) -> None:
    for state in ("fin_wait", "close_wait"):
        path = f"/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}"
        with netlab.popen(lab.namespace, "cat", path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
            assert reading.stdout is not None
            if seconds := reading.stdout.read():  # none without connection tracking
                assert int(seconds) == 7200


def test_two_hundred_connections_at_once(lab: Lab) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(lab.connect(ECHO)) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"%d;" % number * 500)
        for client in clients:
            client.shutdown(socket.SHUT_WR)
        for number, client in enumerate(clients):
            assert read_all(client) == b"%d;" % number * 500


BUSY = """
import socket, sys, time
with socket.create_server(("", int(sys.argv[1])), backlog=5) as listener:
    print("ready", flush=True)
    while True:
        sock, _ = listener.accept()
        time.sleep(0.05)
        if sys.argv[2] == "listens":
            while sock.recv(99):
                pass
        sock.sendall(b"ok")
        sock.close()
"""


@pytest.mark.parametrize("server", ["listens", "speaks"])
async def test_clients_of_a_listener_that_is_full_are_served_late_and_none_is_reset(
    namespace: Namespace, server: str
) -> None:
    def ask(lab: Lab) -> bytes:
        with lab.connect(BUSY_PORT) as client:
            client.settimeout(100)
            if server == "listens":
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    with netlab.popen(namespace, sys.executable, "-c", BUSY, str(BUSY_PORT), server, stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == "ready\n"
        try:
            async with relaying(namespace, bind_ports([published(BUSY_PORT)])) as lab:
                with ThreadPoolExecutor(CROWD) as pool:
                    asking = [asyncio.wrap_future(pool.submit(ask, lab)) for _ in range(CROWD)]
                    assert await asyncio.gather(*asking) == [b"ok"] * CROWD
        finally:
            busy.kill()


def test_a_refused_target_closes_the_client_at_once(lab: Lab) -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionResetError), lab.connect(NOBODY) as client:  # which of the two sees it is a race
        client.recv(1)
    assert time.monotonic() - started < 10  # not only when some timeout has passed


def test_a_reset_by_the_container_reaches_the_client(lab: Lab) -> None:
    with pytest.raises(ConnectionResetError), lab.connect(RESET) as client:  # which of the two sees it is a race
        client.recv(1)


def test_a_reset_by_the_client_reaches_the_container(lab: Lab) -> None:
    with lab.connect(END_FIRST) as client:
        client.sendall(b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with lab.connect(ECHO) as other:  # the server's handler of the first ended in a ConnectionError, and it serves on
        other.sendall(b"y")
        assert other.recv(1) == b"y"
    wait_for_connections(lab, 0)


def test_clients_that_leave_in_any_way_leave_nothing_in_the_relay(lab: Lab) -> None:
    dice = random.Random(4)
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            port = dice.choice((ECHO, DIGEST, SOURCE, RESET, STUCK, NOBODY))
            try:
                client = stack.enter_context(lab.connect(port))
            except ConnectionResetError:  # so quickly
                continue
            try:
                client.setblocking(False)
                client.send(bytes(dice.choice((1, 1000, 1 << 20))))
                if dice.random() < 0.3:
                    client.shutdown(socket.SHUT_WR)
                if dice.random() < 0.3:
                    client.recv(dice.choice((1, 1 << 18)))
            except OSError:
                pass
            # An orderly end is no reason to drop what a server has not read yet: that one would stay.
            if port == STUCK or dice.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if dice.random() < 0.7:
                client.close()
    wait_for_connections(lab, 0)


def test_a_receiver_that_reads_nothing_stops_its_sender_and_nobody_else(lab: Lab) -> None:
    with lab.connect(STUCK) as stuck:
        stuck.settimeout(1.0)
        with pytest.raises(TimeoutError):
            stuck.sendall(bytes(100_000_000))
        before = cpu_ticks(lab)
        time.sleep(0.5)
        assert cpu_ticks(lab) - before <= 2, "the relay spins"
        with lab.connect(ECHO) as other:
            other.sendall(b"passes")
            assert other.recv(6) == b"passes"


async def test_connections_over_the_limit_wait_for_their_turn(namespace: Namespace) -> None:
    async with relaying(namespace, bind_ports([published(ECHO)]), max_connections=2) as lab:
        with lab.connect(ECHO) as first, lab.connect(ECHO) as second, lab.connect(ECHO) as third:
            for client in (first, second, third):
                client.sendall(b"x")
            assert first.recv(1) == second.recv(1) == b"x"
            third.settimeout(0.3)
            with pytest.raises(TimeoutError):
                third.recv(1)
            before = cpu_ticks(lab)
            time.sleep(0.3)
            assert cpu_ticks(lab) - before <= 2, "the relay spins"
            first.close()
            third.settimeout(30)
            assert third.recv(1) == b"x"


def test_running_out_of_descriptors_turns_clients_away_and_recovers(lab: Lab) -> None:
    assert lab.relay.pid is not None
    limits = resource.prlimit(lab.relay.pid, resource.RLIMIT_NOFILE)
    in_use = len(os.listdir(f"/proc/{lab.relay.pid}/fd"))
    resource.prlimit(lab.relay.pid, resource.RLIMIT_NOFILE, (in_use + 5, limits[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(lab.connect(STUCK))
        before = cpu_ticks(lab)
        time.sleep(0.5)
        assert cpu_ticks(lab) - before <= 3, "the relay spins"
    resource.prlimit(lab.relay.pid, resource.RLIMIT_NOFILE, limits)
    with lab.connect(ECHO) as client:
        client.sendall(b"again")
        assert client.recv(5) == b"again"


def test_clients_are_taken_again_also_while_others_keep_it_busy(lab: Lab) -> None:
    assert lab.relay.pid is not None
    limits = resource.prlimit(lab.relay.pid, resource.RLIMIT_NOFILE)
    over = threading.Event()

    def talk(client: socket.socket) -> None:
        while not over.is_set():
            client.sendall(b"x")
            client.recv(1)

    with lab.connect(ECHO) as busy:
        busy.sendall(b"x")
        assert busy.recv(1) == b"x"  # its descriptors are there before the limit
        talker = threading.Thread(target=talk, args=(busy,))
        talker.start()
        try:
            resource.prlimit(lab.relay.pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # each new one is above
            with lab.connect(ECHO) as client:
                client.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    client.recv(1)
            resource.prlimit(lab.relay.pid, resource.RLIMIT_NOFILE, limits)
            with lab.connect(ECHO) as client:
                client.sendall(b"again")
                assert client.recv(5) == b"again"
        finally:
            over.set()
            talker.join()


def test_nothing_listens_before_the_relay_starts() -> None:
    with bind_ports([published(80)]) as bound, socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(bound.sockets[0][0].getsockname())


async def test_a_wildcard_address_is_reached_by_loopback(namespace: Namespace) -> None:
    wanted = [published(ECHO, "0.0.0.0"), published(DIGEST, "::")]
    async with relaying(namespace, bind_ports(wanted)) as lab:
        with lab.connect(ECHO) as client:
            client.sendall(b"v4")
            assert client.recv(2) == b"v4"


async def test_an_ipv6_host_address_leads_to_the_ipv6_address_of_the_container(namespace: Namespace) -> None:
    with netlab.guest_server(namespace, "fd77::1"):
        async with relaying(namespace, bind_ports([published(ECHO, "::1")])) as lab:
            with lab.connect(ECHO, "::1") as client:
                client.sendall(b"v6")
                assert client.recv(2) == b"v6"


async def test_an_ipv6_host_address_needs_an_ipv6_address_of_the_container() -> None:
    with bind_ports([published(80, "::1")]) as bound, pytest.raises(ContainerError) as caught:
        async with start_relay(bound, ipv4=netlab.GATEWAY, ipv6=None, netns=0, userns=None):
            pass
    phrase = "cannot configure IPv6 port forwarding for container with unknown IPv6 address"
    assert caught.value.message.startswith(phrase)


async def test_a_range_of_ports_is_relayed_one_to_one(namespace: Namespace) -> None:
    start = ports.reserve(2)
    bound = bind_ports([PublishPort("127.0.0.1", start, ECHO, count=2)])
    async with relaying(namespace, bound) as lab:
        assert lab.ports == {ECHO: start, DIGEST: start + 1}


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ContainerError) as caught:
            bind_ports([PublishPort("0.0.0.0", port, 80)])
    assert caught.value.code is ErrorCode.INVALID_STATE
    assert f"cannot publish host port {port}: address 0.0.0.0:{port} is already in use" in caught.value.message


def test_a_port_is_reserved_before_it_listens() -> None:
    wanted = fixed(80)
    with bind_ports([wanted]), pytest.raises(ContainerError, match="already in use"):
        bind_ports([wanted])
    bind_ports([wanted]).close()


def test_a_port_with_connections_of_an_earlier_run_is_reserved_all_the_same() -> None:
    wanted = fixed(80)
    where = ("127.0.0.1", wanted.host_port)
    with socket.create_server(where) as listener, socket.create_connection(where) as client:
        listener.accept()[0].close()  # first: this end stays in TIME_WAIT
        assert client.recv(1) == b""
    with bind_ports([wanted]) as bound, socket.socket() as stranger:
        with pytest.raises(ContainerError, match="already in use"):
            bind_ports([wanted])
        with pytest.raises(ConnectionRefusedError):
            stranger.connect(where)
        bound.listen()
        with pytest.raises(ContainerError, match="already in use"):
            bind_ports([wanted])


def test_a_failure_leaves_no_port_bound() -> None:
    first, taken = fixed(80), fixed(81)
    with bind_ports([taken]):
        with pytest.raises(ContainerError, match="already in use"):
            bind_ports([first, taken])
        bind_ports([first]).close()


async def test_a_port_is_free_again_at_once_after_connections(namespace: Namespace) -> None:
    wanted = fixed(SOURCE)
    for _ in range(3):
        async with relaying(namespace, bind_ports([wanted])) as lab:
            with lab.connect(SOURCE) as client:  # the relay closes first: its end stays in TIME_WAIT
                assert len(read_all(client)) == SIZE


def test_a_privileged_port_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ContainerError) as caught:
        bind_ports([PublishPort("0.0.0.0", 80, 80)])
    assert caught.value.message == (
        "Permission denied while binding to host port 80. Binding to ports below 1024 requires root privileges."
    )


@pytest.mark.parametrize(("address", "code"), [("198.51.100.7", "has no address"), ("nowhere", "is no IP address")])
def test_an_address_that_is_not_ours_is_refused(address: str, code: str) -> None:
    with pytest.raises(ContainerError, match=code):
        bind_ports([published(80, address)])


def test_another_protocol_is_refused() -> None:
    with pytest.raises(ContainerError, match="protocol sctp is neither tcp nor udp") as caught:
        bind_ports([PublishPort("127.0.0.1", 5353, 53, proto="sctp")])
    assert caught.value.code is ErrorCode.UNSUPPORTED


async def test_without_ports_there_is_no_process(namespace: Namespace) -> None:
    async with relaying(namespace, bind_ports([])) as lab:
        assert lab.relay.pid is None


async def test_a_missing_namespace_is_an_error() -> None:
    netlab.require_namespaces(taps=False)
    with bind_ports([published(80)]) as bound:
        wrong = bound.sockets[0][0].fileno()
        with pytest.raises(ContainerError) as caught:
            async with start_relay(bound, ipv4=netlab.GATEWAY, ipv6=None, netns=wrong, userns=None):
                pass
    assert "cannot enter the network's namespace: Invalid argument" in caught.value.message


async def test_a_relay_that_ends_is_replaced_and_its_end_is_told(
    namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    async with relaying(namespace, bind_ports([published(ECHO)])) as lab:
        keeping = asyncio.create_task(lab.relay.keep())
        os.kill(lab.relay.pid or 0, signal.SIGKILL)
        with lab.connect(ECHO) as client:  # waits in the backlog meanwhile
            client.sendall(b"x")
            assert await asyncio.to_thread(client.recv, 1) == b"x"
        keeping.cancel()
    assert "the port relay ended: status -9; starting another one" in caplog.text


PARENT = """
import asyncio, os, sys
from container.linux.ports import bind_ports
from container.linux.relay import start_relay
from container.model.port import PublishPort
async def main():
    netns, userns, port = map(int, sys.argv[1:4])
    bound = bind_ports([PublishPort("127.0.0.1", port, 7000)])
    target = {"ipv4": sys.argv[4], "ipv6": None, "netns": netns, "userns": None if userns < 0 else userns}
    async with start_relay(bound, **target) as relay:
        print(relay.pid, flush=True)
        await relay.keep()
asyncio.run(main())
"""


async def test_the_relay_dies_with_its_parent(namespace: Namespace) -> None:
    wanted = fixed(ECHO)
    userns = -1 if namespace.userns is None else namespace.userns
    argv = [sys.executable, "-c", PARENT, *map(str, (namespace.netns, userns, wanted.host_port, netlab.GATEWAY))]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "pass_fds": namespace.descriptors}
    with subprocess.Popen(argv, **options) as parent:
        assert parent.stdout is not None
        relay = os.pidfd_open(int(parent.stdout.readline()))
        with socket.create_connection(("127.0.0.1", wanted.host_port)) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            parent.kill()
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
    os.close(relay)
    bind_ports([wanted]).close()


def cpu_ticks(lab: Lab) -> int:
    """CPU time of the relay, in clock ticks."""
    fields = Path(f"/proc/{lab.relay.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def wait_for_connections(lab: Lab, count: int) -> None:
    """Wait until the relay has `count` connections: two sockets each, besides the listeners."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        sockets = 0
        for path in Path(f"/proc/{lab.relay.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                sockets += os.readlink(path).startswith("socket:")
        if sockets == len(lab.ports) + 2 * count:
            return
        time.sleep(0.02)
    pytest.fail("connections are left in the relay")
