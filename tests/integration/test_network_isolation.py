"""Who reaches whom: frames made by hand, names, and other networks; each test as root and as an ordinary user."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

import pytest
from support import frames, nethelper, netlab, ordinary
from support.frames import ARP_REPLY, ARP_REQUEST
from support.nethelper import OUTSIDE, Helper

from container.api.network import Lease
from container.errors import ContainerError, ErrorCode
from container.linux.netns import Namespace
from container.plugins.network.dns.zone import HOST_NAME

MAC_A, MAC_B = "f2:00:00:00:00:0a", "f2:00:00:00:00:0b"
IP_A, IP_B, GATEWAY = "192.168.64.2", "192.168.64.3", "192.168.64.1"
REACH = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def reach(target):
    address, port = target.split()
    try:
        with socket.create_connection((address, int(port)), 1) as s:
            s.sendall(b"hello")
            return target if s.recv(5) == b"hello" else None
    except OSError:
        return None

with ThreadPoolExecutor(20) as pool:
    print(*filter(None, pool.map(reach, sys.argv[1:])), sep="\\n")
"""


def user_of(name: str) -> str | None:
    if os.geteuid() != 0:
        pytest.skip("makes hosts of its own, which needs root")
    netlab.require_namespaces()
    return None if name == "root" else ordinary.make_user()


@pytest.fixture(params=["root", "ordinary-user"])
def host(request: pytest.FixtureRequest) -> Iterator[Helper]:
    """A host with a helper that is not started."""
    with nethelper.host(user_of(request.param)) as made:
        yield made


@dataclass
class Pair:
    """Two containers of one network, by their taps."""

    a: Lease
    b: Lease

    def says(self, frame: bytes) -> None:
        os.write(self.a["tap"].fileno(), frame)

    def hears(self, wanted: Callable[[bytes], bool]) -> bool:
        """Whether such a frame comes to `b`, before the one that `a` may send and then sends."""
        mark = os.urandom(8)
        self.says(frames.udp(MAC_A, MAC_B, IP_A, IP_B, mark))
        seen: list[bool] = []

        def last(frame: bytes) -> bool:
            seen.append(wanted(frame))
            return mark in frame

        assert frames.receive(self.b["tap"].fileno(), last) is not None, "not even an honest frame came through"
        return any(seen)


@pytest.fixture
async def pair(host: Helper) -> AsyncIterator[Pair]:
    await host.start(mode="hostOnly")
    async with host.attached("a", mac_address=MAC_A) as a, host.attached("b", mac_address=MAC_B) as b:
        yield Pair(a, b)
    await host.stop()


def listening(namespace: Namespace, address: str) -> contextlib.AbstractContextManager[None]:
    return netlab.guest_server(namespace, address)


def reached(guest: Namespace, *addresses: str, ports: tuple[int, ...] = (7000,)) -> list[str]:
    """`address port` of what echoes to a guest."""
    targets = [f"{address} {port}" for address in addresses for port in ports]
    return netlab.output(guest, sys.executable, "-c", REACH, *targets).split("\n")[:-1]


def reaches(guest: Namespace, address: str) -> bool:
    """Whether it can be reached: tried again, since a busy machine may be slow."""
    return any(reached(guest, address) == [f"{address} 7000"] for _ in range(10))


# --- spoofing --------------------------------------------------------------------------------------------------------


async def test_frames_with_another_sender_do_not_pass(pair: Pair) -> None:
    gateway_mac = "02:00:00:00:00:77"
    spoofed = {
        "another's MAC address": frames.udp(MAC_B, MAC_B, IP_A, IP_B, b"evil"),
        "a MAC address of nobody": frames.udp(gateway_mac, MAC_B, IP_A, IP_B, b"evil"),
        "another's IP address": frames.udp(MAC_A, MAC_B, GATEWAY, IP_B, b"evil"),
        "an IP address of elsewhere": frames.udp(MAC_A, MAC_B, "8.8.8.8", IP_B, b"evil"),
        "an unknown protocol": frames.ethernet(MAC_A, MAC_B, 0x88B5, b"evil"),
        "a VLAN": frames.ethernet(MAC_A, MAC_B, 0x8100, b"\0\5\x08\0evil"),
        "a VLAN with its own address": frames.tagged(frames.udp(MAC_A, MAC_B, IP_A, IP_B, b"evil"), 5),
        "a tag without a VLAN": frames.tagged(frames.udp(MAC_A, MAC_B, IP_A, IP_B, b"evil"), 0),
        "a bridge's protocol": frames.ethernet(MAC_A, MAC_B, 38, b"\x42\x42\3evil"),
    }
    for what, frame in spoofed.items():
        pair.says(frame)
        assert not pair.hears(lambda frame: b"evil" in frame), what


async def test_nobody_decides_where_multicast_goes(pair: Pair) -> None:
    pair.says(frames.igmp_query(MAC_A, IP_A))
    assert not pair.hears(lambda frame: frame[12:14] == b"\x08\0" and frame[23] == 2)


async def test_nobody_can_answer_arp_for_another(pair: Pair) -> None:
    def is_arp(frame: bytes) -> bool:
        return frame[12:14] == b"\x08\x06" and frame[6:12].hex(":") == MAC_A

    for sender in ((MAC_A, GATEWAY), (MAC_B, IP_A), (MAC_A, IP_B)):
        for operation in (ARP_REQUEST, ARP_REPLY):
            pair.says(frames.arp(MAC_A, operation, sender, IP_B, MAC_B))
            assert not pair.hears(is_arp), (sender, operation)
    pair.says(frames.arp(MAC_A, ARP_REQUEST, (MAC_A, IP_A), IP_B))
    assert pair.hears(is_arp)


async def test_nobody_can_be_another_or_the_router_with_ipv6(pair: Pair) -> None:
    ipv6 = pair.a["attachment"].ipv6_address
    other = pair.b["attachment"].ipv6_address
    gateway = pair.a["attachment"].ipv6_gateway
    assert ipv6 is not None
    assert other is not None
    assert gateway is not None
    ipv6, other = ipv6.partition("/")[0], other.partition("/")[0]
    link_local = str(IPv6Address("fe80::f000:ff:fe00:a"))
    honest = frames.neighbour_advertisement(ipv6, MAC_A)

    def is_icmpv6(frame: bytes) -> bool:
        frame = frame[:12] + frame[12:].removeprefix(b"\x81\0\0\0")
        return frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[6:12].hex(":") == MAC_A

    spoofed = {
        "advertises the gateway": frames.icmpv6(MAC_A, ipv6, "ff02::1", frames.neighbour_advertisement(gateway, MAC_A)),
        "advertises another": frames.icmpv6(MAC_A, ipv6, "ff02::1", frames.neighbour_advertisement(other, MAC_A)),
        "is another": frames.icmpv6(MAC_A, other, "ff02::1", honest),
        "is elsewhere": frames.icmpv6(MAC_A, "2001:db8::1", "ff02::1", honest),
        "is a router": frames.icmpv6(MAC_A, link_local, "ff02::1", frames.router_advertisement(MAC_A)),
        "asks for members": frames.icmpv6(MAC_A, link_local, "ff02::1", frames.mld_query()),
    }
    spoofed |= {f"{what}, in a tag": frames.tagged(frame, 0) for what, frame in spoofed.items()}
    for what, frame in spoofed.items():
        pair.says(frame)
        assert not pair.hears(is_icmpv6), what
    for source in (ipv6, link_local):
        pair.says(frames.icmpv6(MAC_A, source, "ff02::1", honest))
        assert pair.hears(is_icmpv6), source


# --- the gateway -----------------------------------------------------------------------------------------------------


async def test_the_gateway_answers_dns_and_ping_and_nothing_else(host: Helper) -> None:
    await host.start()
    async with host.attached("a") as lease:
        inside = Namespace(lease["netns"].fileno(), None if (u := lease["userns"]) is None else u.fileno())
        with listening(inside, GATEWAY), host.guest(lease) as guest:
            assert netlab.ask(guest, GATEWAY, "a") == IP_A
            ipv6 = lease["attachment"].ipv6_gateway
            assert ipv6 is not None
            netlab.output(guest, "ping", "-c1", "-W2", GATEWAY)
            assert reached(guest, GATEWAY) == [""]
    await host.stop()


async def test_names_are_known_to_the_network_and_unknown_ones_do_not_leave_it(host: Helper) -> None:
    await host.start("--domain", "test")
    async with host.attached("a.test.", aliases=["first"]) as a, host.attached("b.c.") as b:
        ipv6 = a["attachment"].ipv6_address
        assert ipv6 is not None
        with host.guest(b) as guest:
            for name in ("a", "A.test", "first", "first.TEST"):
                assert netlab.ask(guest, GATEWAY, name) == IP_A
            assert netlab.ask(guest, GATEWAY, "a", "AAAA") == ipv6.partition("/")[0]
            assert netlab.ask(guest, GATEWAY, "b.c") == IP_B
            assert netlab.ask(guest, GATEWAY, "2.64.168.192.in-addr.arpa", "PTR") == "a.test."
            assert netlab.ask(guest, GATEWAY, "a", "TXT") == "NOERROR"
            assert netlab.ask(guest, GATEWAY, "nobody.test", transport="tcp") == "NXDOMAIN"
            assert netlab.ask(guest, GATEWAY, "host.container.internal") == GATEWAY
    await host.stop()


async def test_a_name_is_one_containers(host: Helper) -> None:
    await host.start("--domain", "test")
    async with host.attached("a.test.", aliases=["web"]), host.attached("other", aliases=["web"]):
        for options in ({"hostname": "A"}, {"hostname": "web"}, {"hostname": "new", "aliases": ["a"]}):
            with pytest.raises(ContainerError, match=r'hostname\(s\) already exist: \["(a|web)\.test\."\]') as caught:
                async with host.attached("c", **options):
                    pass
            assert caught.value.code is ErrorCode.EXISTS
    for options in ({"hostname": "Host.Container.Internal."}, {"aliases": [HOST_NAME]}):
        with pytest.raises(ContainerError, match=r'already exist: \["host\.container\.internal\."\]'):
            async with host.attached("c", **options):
                pass
    async with host.attached("c", hostname="a"):
        pass
    await host.stop()


async def test_a_helper_that_comes_back_knows_the_names_before_anyone_attaches_again(host: Helper) -> None:
    await host.start()
    async with host.attached("a", aliases=["first"]), host.attached("b", mac_address=MAC_B) as b:
        with host.guest(b) as guest:
            assert netlab.ask(guest, GATEWAY, "first") == IP_A
            rules = netlab.output(_inside(b), "nft", "list", "ruleset")
            host.kill()
            assert netlab.output(_inside(b), "nft", "list", "ruleset") == rules
            await host.start()
            assert netlab.ask(guest, GATEWAY, "first") == IP_A
            assert netlab.ask(guest, GATEWAY, "b") == IP_B
            pair = Pair(b, b)
            pair.says(frames.arp(MAC_A, ARP_REQUEST, (MAC_A, IP_A), GATEWAY))
            assert frames.receive(b["tap"].fileno(), lambda f: f[12:14] == b"\x08\x06" and f[21] == 2, 0.3) is None
            pair.says(frames.arp(MAC_B, ARP_REQUEST, (MAC_B, IP_B), GATEWAY))
            assert frames.receive(b["tap"].fileno(), lambda f: f[12:14] == b"\x08\x06" and f[21] == 2) is not None
    await host.stop()


def _inside(lease: Lease) -> Namespace:
    userns = lease["userns"]
    return Namespace(lease["netns"].fileno(), None if userns is None else userns.fileno())


# --- the host and other networks -------------------------------------------------------------------------------------


@contextlib.contextmanager
def host_server(helper: Helper, address: str) -> Iterator[None]:
    """`guest_server.py` on the helper's host, as root."""
    command = ["nsenter", "-t", str(helper.host), "-n", "--", sys.executable, str(netlab.GUEST_SERVER), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


UPLINKS = ["slirp4netns", "pasta", "veth"]


def start_options(host: Helper, uplink: str, *options: str) -> list[str]:
    if uplink == "veth" and host.user is not None:
        pytest.skip("a veth pair to the host needs root")
    if uplink == "pasta" and host.user is None:
        pytest.skip("pasta is for ordinary users")
    if uplink == "pasta" and shutil.which("pasta") is None:
        pytest.skip("pasta is not installed: package passt")
    return [word for option in (f"uplink={uplink}", *options) for word in ("--option", option)]


@pytest.mark.parametrize("uplink", UPLINKS)
async def test_the_hosts_loopback_is_open_only_to_a_network_that_is_said_to_reach_it(host: Helper, uplink: str) -> None:
    with host_server(host, "127.0.0.1"):
        await host.start(*start_options(host, uplink, "host-loopback=true"))
        async with host.attached("a") as lease:
            with host.guest(lease) as guest:
                address = netlab.ask(guest, GATEWAY, "host.container.internal")
                assert address != GATEWAY
                assert reaches(guest, address)
        await host.stop()
        await host.start(*start_options(host, uplink))
        async with host.attached("a") as lease:
            with host.guest(lease) as guest:
                assert netlab.ask(guest, GATEWAY, "host.container.internal") == GATEWAY
                assert reached(guest, address, "127.0.0.1", "192.0.2.3") == [""]
        await host.stop()


@pytest.mark.parametrize("uplink", UPLINKS)
async def test_networks_do_not_reach_each_other(host: Helper, uplink: str) -> None:
    other = host.another("other")
    options = start_options(host, uplink)
    with host_server(host, OUTSIDE):
        await host.start(*options)
        await other.start("--subnet", "192.168.65.0/24", *options)
        async with host.attached("a") as a, other.attached("b") as b:
            with host.guest(a) as guest, other.guest(b) as target, listening(target, "192.168.65.2"):
                assert reaches(guest, OUTSIDE)
                assert reaches(target, OUTSIDE)
                assert reaches(target, "192.168.65.2")
                far = [line.split()[3] for line in netlab.output(_inside(b), "ip", "-o", "-4", "addr").splitlines()]
                addresses = ["192.168.65.2", *(cidr.partition("/")[0] for cidr in far)]
                assert reached(guest, *addresses, ports=(53, 7000)) == [""]
                assert netlab.ask(guest, GATEWAY, "b") == "NXDOMAIN"
        await other.stop()
        await host.stop()


async def test_a_network_without_a_way_out_reaches_nothing_but_itself(host: Helper) -> None:
    with host_server(host, OUTSIDE):
        await host.start(mode="hostOnly")
        async with host.attached("a") as a, host.attached("b") as b:
            with host.guest(a) as guest, host.guest(b, "guest1") as neighbour, listening(neighbour, IP_B):
                assert reaches(guest, IP_B)
                assert reached(guest, OUTSIDE, "127.0.0.1", "192.0.2.2") == [""]
                assert netlab.ask(guest, GATEWAY, "b") == IP_B
                assert netlab.ask(guest, GATEWAY, "example.org") == "NXDOMAIN"
        await host.stop()
