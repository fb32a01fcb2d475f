"""The name server on loopback sockets, asked in wire format, with a real name server behind it."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import dns_server

from container.plugins.network.dns import forward, server
from container.plugins.network.dns.forward import Disguise, Forwarder
from container.plugins.network.dns.local import Elsewhere, respond
from container.plugins.network.dns.resolvers import Resolvers, parse
from container.plugins.network.dns.server import NameServer
from container.plugins.network.dns.wire import cut
from container.plugins.network.dns.zone import Host, Zone


@pytest.fixture(scope="module")
def outside() -> Iterator[int]:
    """Port of a name server on 127.0.0.1."""
    command = [sys.executable, dns_server.__file__, "127.0.0.1", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().removeprefix("ready "))
        process.kill()


def make_zone(containers: int = 1) -> Zone:
    zone = Zone(IPv4Network("192.168.64.0/24"), None, "test", [IPv4Address("192.168.64.1")])
    hosts = [
        Host(f"web{number}", IPv4Address("192.168.64.2") + number, IPv6Address("fd00::2") + number, ("all",))
        for number in range(containers)
    ]
    zone.update(hosts)
    return zone


@contextlib.asynccontextmanager
async def serving(
    port: int | None, tmp_path: Path, servers: str = "127.0.0.1", ours: bool = True, containers: int = 1
) -> AsyncIterator[tuple[str, int]]:
    """Address of a name server that forwards to `servers` at `port`."""
    tmp_path.joinpath("resolv.conf").write_text("".join(f"nameserver {name}\n" for name in servers.split()))
    forwarder = None if port is None else Forwarder(Resolvers(str(tmp_path / "resolv.conf"), port))
    made = NameServer(make_zone(containers), serves=lambda _: ours, forwarder=forwarder)
    udp, tcp = dns_server.bound_pair("127.0.0.1", 0)
    for sock in (udp, tcp):
        sock.setblocking(False)
    async with made.running():
        made.listen([udp], [tcp])
        yield udp.getsockname()


async def ask(where: tuple[str, int], query: bytes, timeout: float = 30) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(where)
        await loop.sock_sendall(sock, query)
        async with asyncio.timeout(timeout):
            return await loop.sock_recv(sock, 65535)


async def ask_by_tcp(where: tuple[str, int], *queries: bytes) -> list[bytes]:
    reader, writer = await asyncio.open_connection(*where)
    try:
        writer.write(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
        return [await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")) for _ in queries]
    finally:
        writer.close()


async def resolve(where: tuple[str, int], name: str, kind: str = "A", **options: object) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
    response = dns.message.from_wire(await ask(where, query.to_wire()))
    assert query.is_response(response)
    return response


def values(response: dns.message.Message) -> list[str]:
    return [str(item) for rrset in response.answer for item in rrset]


# --- local names -----------------------------------------------------------------------------------------------------


async def test_local_names_are_answered_at_once(tmp_path: Path) -> None:
    async with serving(None, tmp_path) as where:
        for _ in range(2):  # made, and kept
            response = await resolve(where, "WEB0.test")
            assert values(response) == ["192.168.64.2"]
            assert response.answer[0].ttl == 5
            assert response.answer[0].name.to_text() == "WEB0.test."
            assert response.flags & dns.flags.AA
        assert values(await resolve(where, "web0", "AAAA")) == ["fd00::2"]
        assert values(await resolve(where, "2.64.168.192.in-addr.arpa", "PTR")) == ["web0.test."]
        missing = await resolve(where, "web0", "MX")
        assert (missing.rcode(), missing.answer) == (dns.rcode.NOERROR, [])
        assert (await resolve(where, "nobody.test")).rcode() == dns.rcode.NXDOMAIN


async def test_a_changed_zone_is_answered_from_at_once(tmp_path: Path) -> None:
    zone = make_zone()
    made = NameServer(zone, serves=lambda _: True, forwarder=None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        where = udp.getsockname()
        async with made.running():
            made.listen([udp], [])
            assert values(await resolve(where, "web0")) == ["192.168.64.2"]
            zone.update([])
            made.changed()
            assert (await resolve(where, "web0")).rcode() == dns.rcode.NXDOMAIN


def test_a_container_with_a_name_that_no_dns_name_can_be_has_no_reverse_name() -> None:
    zone = Zone(IPv4Network("192.168.64.0/24"), None, "d" * 63 + "." + "d" * 63 + "." + "d" * 63 + ".d", [])
    for name in ("a..b.", "n" * 63):
        zone.update([Host(name, IPv4Address("192.168.64.2"))])
        query = dns.message.make_query("2.64.168.192.in-addr.arpa", "PTR")
        response, _ = respond(zone, query.to_wire(), tcp=False, recursive=False)
        assert isinstance(response, bytes)
        assert values(dns.message.from_wire(response)) == []


async def test_one_tcp_connection_carries_several_queries(tmp_path: Path) -> None:
    queries = [dns.message.make_query(name, "A").to_wire() for name in ("web0", "nobody", "web0")]
    async with serving(None, tmp_path) as where:
        answers = [dns.message.from_wire(wire) for wire in await ask_by_tcp(where, *queries)]
    assert [answer.rcode() for answer in answers] == [dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.NOERROR]
    assert [wire[:2] for wire in queries] == [answer.id.to_bytes(2, "big") for answer in answers]


async def test_a_name_of_very_many_containers_stands_for_as_many_as_every_client_can_take(tmp_path: Path) -> None:
    query = dns.message.make_query("all", "A")
    async with serving(None, tmp_path, containers=100) as where:
        wire = await ask(where, query.to_wire())
    assert len(values(dns.message.from_wire(wire))) == 12
    assert len(wire) <= 512


async def test_an_answer_that_is_too_large_is_cut_for_udp_and_whole_for_tcp(tmp_path: Path) -> None:
    name = ".".join(["x" * 60] * 3) + ".test"
    made = NameServer(make_zone(), serves=lambda _: True, forwarder=None)
    zone = made._zone
    zone.update([Host(name, IPv4Address("10.0.0.1") + n, IPv6Address("fd00::") + n) for n in range(12)])
    query = dns.message.make_query(name, "AAAA").to_wire()
    short, whole = (dns.message.from_wire(made._local(query, tcp=tcp)[0] or b"") for tcp in (False, True))
    assert (bool(short.flags & dns.flags.TC), len(values(short))) == (True, 0)
    assert (bool(whole.flags & dns.flags.TC), len(values(whole))) == (False, 12)


async def test_edns_is_answered_with_edns(tmp_path: Path) -> None:
    async with serving(None, tmp_path) as where:
        assert (await resolve(where, "web0")).edns == -1
        assert (await resolve(where, "web0", use_edns=0)).edns == 0
        assert (await resolve(where, "web0", use_edns=1)).rcode() == dns.rcode.BADVERS


async def test_what_is_not_done_is_said(tmp_path: Path) -> None:
    async with serving(None, tmp_path) as where:
        assert (await resolve(where, "web0", "ANY")).rcode() == dns.rcode.NOTIMP
        chaos = dns.message.make_query("version.bind", "TXT", "CH")
        assert dns.message.from_wire(await ask(where, chaos.to_wire())).rcode() == dns.rcode.NOTIMP
        notify = dns.message.make_query("web0", "A")
        notify.set_opcode(dns.opcode.NOTIFY)
        assert dns.message.from_wire(await ask(where, notify.to_wire())).rcode() == dns.rcode.NOTIMP
        assert (await ask(where, b"ab\1\0" + b"\0\1" + bytes(6) + b"\x05short"))[3] & 15 == dns.rcode.FORMERR


async def test_without_a_way_out_other_names_do_not_exist(tmp_path: Path) -> None:
    async with serving(None, tmp_path) as where:
        assert (await resolve(where, "example.com")).rcode() == dns.rcode.NXDOMAIN


async def test_strangers_and_responses_get_nothing(tmp_path: Path) -> None:
    query = dns.message.make_query("web0", "A").to_wire()
    async with serving(None, tmp_path, ours=False) as where:
        with pytest.raises(TimeoutError):
            await ask(where, query, timeout=0.2)
        with pytest.raises((ConnectionError, EOFError)):
            await ask_by_tcp(where, query)
    async with serving(None, tmp_path) as where:
        for junk in (b"", b"short", query[:2] + b"\x81\x80" + query[4:]):
            with pytest.raises(TimeoutError):
                await ask(where, junk, timeout=0.1)


@given(st.binary(max_size=300))
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_make_it_fail(data: bytes) -> None:
    for query in (data, b"ab\1\0\0\1\0\0\0\0\0\1" + data, b"ab\1\0\0\1\0\0\0\0\0\1\4web0\0\0\1\0\1" + data):
        response, _ = respond(make_zone(), query, tcp=False, recursive=True)
        assert isinstance(response, Elsewhere) or response[:2] == query[:2]
        if response is Elsewhere.FORWARD:
            with contextlib.suppress(ValueError):
                Disguise(query)


async def test_thousands_of_local_answers_a_second(tmp_path: Path) -> None:
    query = dns.message.make_query("web0", "A").to_wire()
    async with serving(None, tmp_path) as where:
        started, rounds, width = time.process_time(), 100, 32  # client and server; what others do does not count
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(where)
            for _ in range(rounds):
                for _ in range(width):
                    sock.send(query)
                for _ in range(width):
                    await loop.sock_recv(sock, 512)
        assert rounds * width / (time.process_time() - started) > 3000


# --- other names -----------------------------------------------------------------------------------------------------


async def test_other_names_are_asked_for_outside_under_the_clients_id_and_case(tmp_path: Path, outside: int) -> None:
    async with serving(outside, tmp_path) as where:
        query = dns.message.make_query("Some.Example.ORG", "A", use_edns=0)
        response = dns.message.from_wire(await ask(where, query.to_wire()))
        assert query.is_response(response)
        assert response.question[0].name.to_text() == "Some.Example.ORG."
        assert values(response) == ["10.1.2.3"]
        [wire] = await ask_by_tcp(where, query.to_wire())
        assert values(dns.message.from_wire(wire)) == ["10.1.2.3"]


@pytest.mark.parametrize("name", ["forged.example.org", "lower.example.org"])
async def test_forged_answers_are_not_believed(tmp_path: Path, outside: int, name: str) -> None:
    async with serving(outside, tmp_path) as where:
        assert values(await resolve(where, name)) == ["10.1.2.3"]


@pytest.mark.parametrize("tcp", ["refused", "silent"])
async def test_a_server_that_answers_in_lower_case_and_has_no_tcp_is_believed(tmp_path: Path, tcp: str) -> None:
    udp, listener = dns_server.bound_pair("127.0.0.1", 0)
    if tcp == "refused":
        listener.close()

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                query, peer = udp.recvfrom(4096)
                udp.sendto(dns_server.answer(query, False)[0], peer)

    threading.Thread(target=serve, daemon=True).start()
    with udp, listener:
        async with serving(udp.getsockname()[1], tmp_path) as where:
            begun = time.monotonic()
            for _ in range(5):
                assert values(await resolve(where, "lower.example.org")) == ["10.1.2.3"]
            assert time.monotonic() - begun < 4 * forward.CONFIRM_TIMEOUT  # it waited for TCP once


async def test_an_answer_that_needs_tcp_is_had_by_tcp(tmp_path: Path, outside: int) -> None:
    async with serving(outside, tmp_path) as where:
        assert (await resolve(where, "big.example.org", "TXT")).flags & dns.flags.TC
        [wire] = await ask_by_tcp(where, dns.message.make_query("big.example.org", "TXT").to_wire())
        assert len(values(dns.message.from_wire(wire))) == 20


async def test_a_server_that_is_dead_or_refuses_is_passed_over(tmp_path: Path, outside: int) -> None:
    async with serving(outside, tmp_path, servers="127.0.0.9 127.0.0.1") as where:  # nothing listens on the first
        assert values(await resolve(where, "some.example.org")) == ["10.1.2.3"]
        assert (await resolve(where, "refused.example.org")).rcode() == dns.rcode.REFUSED


async def test_silence_becomes_a_failure_in_time_and_holds_up_nobody(
    tmp_path: Path, outside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "ATTEMPT_TIMEOUT", 1.0)
    async with serving(outside, tmp_path) as where:
        waiting = [asyncio.create_task(resolve(where, f"mute.{number}.org")) for number in range(20)]
        assert values(await resolve(where, "web0")) == ["192.168.64.2"]
        assert values(await resolve(where, "some.example.org")) == ["10.1.2.3"]
        assert {answer.rcode() for answer in await asyncio.gather(*waiting)} == {dns.rcode.SERVFAIL}


async def test_one_client_cannot_have_everything(tmp_path: Path, outside: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FORWARDS_PER_CLIENT", 3)
    async with serving(outside, tmp_path) as where:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(3):
                sock.sendto(dns.message.make_query(f"mute.{number}.org", "A").to_wire(), where)
        assert (await resolve(where, "some.example.org")).rcode() == dns.rcode.REFUSED


async def test_a_changed_resolv_conf_is_read_again(tmp_path: Path, outside: int) -> None:
    async with serving(outside, tmp_path, servers="127.0.0.9") as where:
        assert (await resolve(where, "some.example.org")).rcode() == dns.rcode.SERVFAIL
        tmp_path.joinpath("resolv.conf").write_text("nameserver 127.0.0.1\n")
        assert values(await resolve(where, "some.example.org")) == ["10.1.2.3"]


def test_name_servers_are_read_as_the_c_library_does(tmp_path: Path) -> None:
    lines = ["# nameserver 1.1.1.1", "nameserver 10.0.0.1", " nameserver\t::1 #x", "nameserver nonsense", "search a"]
    text = "\n".join([*lines, "nameserver 10.0.0.1"])
    assert parse(text) == ["10.0.0.1", "::1"]
    assert Resolvers(str(tmp_path / "missing")).servers() == (("127.0.0.1", 53),)


def test_a_query_in_disguise_is_the_same_question() -> None:
    query = dns.message.make_query("some.longer.name.example.org", "A").to_wire()
    disguises = [Disguise(query) for _ in range(20)]
    assert len({disguise.query for disguise in disguises}) > 1
    for disguise in disguises:
        response = disguise.query[:2] + b"\x81\x80" + disguise.query[4:]
        assert disguise.matches(response)
        assert disguise.reveal(response) == query[:2] + b"\x81\x80" + query[4:]
        assert not disguise.matches(response[:15])
    assert cut(query)[2] & 2
