"""The port relay with datagrams: sessions by client, answers from the address that was asked, bounds."""

import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import netlab, ports

from container.errors import ContainerError, ErrorCode
from container.linux.netns import Namespace
from container.linux.ports import bind_ports
from container.linux.relay import Relay, start_relay
from container.model.port import PublishPort

TELL, MANY, NOBODY = 7000, 7001, 7009


@pytest.fixture
async def namespace() -> AsyncIterator[Namespace]:
    netlab.require_namespaces(taps=False)
    async with netlab.bridged_namespace() as made:
        with netlab.guest_server(made), netlab.guest_server(made, "fd77::1"):
            yield made


@contextlib.asynccontextmanager
async def relaying(
    namespace: Namespace, container_port: int, host: str = "127.0.0.1", **options: float
) -> AsyncIterator[tuple[int, Relay]]:
    """Host port, and the relay behind it."""
    bound = bind_ports([PublishPort(host, 0, container_port, proto="udp")])
    port = int(bound.sockets[0][0].getsockname()[1])
    started = start_relay(
        bound,
        ipv4=netlab.GATEWAY,
        ipv6="fd77::1",
        netns=namespace.netns,
        userns=namespace.userns,
        **options,  # type: ignore[arg-type]
    )
    async with started as relay:
        yield port, relay


def client(port: int, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(30)
    sock.connect((host, port))  # an answer from another address would not arrive
    return sock


def ask(sock: socket.socket, data: bytes = b"x") -> bytes:
    sock.send(data)
    return sock.recv(65536)


def sessions(relay: Relay) -> int:
    """How many sockets it has besides that of the published port."""
    return sum(os.readlink(path).startswith("socket:") for path in Path(f"/proc/{relay.pid}/fd").iterdir()) - 1


async def test_datagrams_come_and_go_unchanged(namespace: Namespace) -> None:
    async with relaying(namespace, TELL) as (port, _):
        with client(port) as sock:
            for size in (0, 1, 1400, 9000, 60000):
                data = os.urandom(size)
                assert ask(sock, data).partition(b" ")[2] == data


async def test_each_client_has_a_session_of_its_own_and_keeps_it(namespace: Namespace) -> None:
    async with relaying(namespace, TELL) as (port, _), contextlib.AsyncExitStack() as stack:
        clients = [stack.enter_context(client(port)) for _ in range(50)]
        first = [ask(sock) for sock in clients]
        assert len(set(first)) == 50
        assert [ask(sock) for sock in clients] == first


@pytest.mark.parametrize(("bind", "asked"), [("0.0.0.0", "127.0.0.7"), ("::", "::1"), ("::1", "::1")])
async def test_answers_come_from_the_address_that_was_asked(namespace: Namespace, bind: str, asked: str) -> None:
    async with relaying(namespace, TELL, bind) as (port, _):
        with client(port, asked) as sock:
            assert ask(sock, b"hello").endswith(b" hello")


async def test_many_answers_to_one_datagram_all_arrive(namespace: Namespace) -> None:
    async with relaying(namespace, MANY) as (port, _):
        with client(port) as sock:
            sock.send(b"y" * 1000)
            assert [sock.recv(2000) for _ in range(10)] == [b"y" * 1000] * 10


async def test_a_quiet_session_ends_and_its_socket_is_closed(namespace: Namespace) -> None:
    async with relaying(namespace, TELL, session_idle=0.2) as (port, relay):
        with client(port) as sock:
            first = ask(sock)
            deadline = time.monotonic() + 60
            while sessions(relay) > 0:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert ask(sock) != first


async def test_the_session_that_was_quiet_longest_makes_room(namespace: Namespace) -> None:
    async with relaying(namespace, TELL, max_sessions=4) as (port, relay), contextlib.AsyncExitStack() as stack:
        clients = [stack.enter_context(client(port)) for _ in range(4)]
        first = [ask(sock) for sock in clients]
        assert ask(clients[0]) == first[0]  # now the second is the quietest
        for _ in range(100):
            with client(port) as passing:
                ask(passing)
            assert ask(clients[0]) == first[0]
        assert sessions(relay) == 4
        assert ask(clients[1]) != first[1]


async def test_a_container_that_refuses_does_not_end_it(namespace: Namespace) -> None:
    async with relaying(namespace, NOBODY) as (port, relay):
        with client(port) as sock:
            sock.settimeout(0.1)
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    ask(sock)
        assert os.path.exists(f"/proc/{relay.pid}/fd")


def test_a_udp_port_in_use_is_named_and_its_tcp_twin_is_free() -> None:
    port = ports.reserve()
    with bind_ports([PublishPort("127.0.0.1", port, 53, proto="udp")]):
        with pytest.raises(ContainerError, match=f"127.0.0.1:{port} is already in use") as caught:
            bind_ports([PublishPort("127.0.0.1", port, 53, proto="udp")])
        assert caught.value.code is ErrorCode.INVALID_STATE
        bind_ports([PublishPort("127.0.0.1", port, 53)]).close()
