"""The network helper as a process: attachments, NAT, crash and return; each test as root and as an ordinary user.

The helper's host is a namespace of its own; guests are tap descriptors or veth pairs. The machine is left alone.
"""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support import nethelper, netlab, ordinary
from support.nethelper import FAR, FAR_IPV6, OUTSIDE, Helper

from container.api.network import Lease, Network
from container.errors import ContainerError, ErrorCode
from container.linux.ports import bind_ports
from container.linux.relay import start_relay
from container.model.port import PublishPort

USERS = ["root", "ordinary-user"]


def user_of(name: str) -> str | None:
    if os.geteuid() != 0:
        pytest.skip("makes hosts of its own, which needs root")
    netlab.require_namespaces()
    return None if name == "root" else ordinary.make_user()


@pytest.fixture(params=USERS)
def host(request: pytest.FixtureRequest) -> Iterator[Helper]:
    """A host with a helper that is not started; afterwards no process of it may be left."""
    with nethelper.host(user_of(request.param)) as made:
        yield made


@pytest.fixture
async def helper(host: Helper) -> AsyncIterator[Helper]:
    """A running helper, stopped in order."""
    await host.start()
    yield host
    await host.stop()


# --- frames, as a guest's network card would send them ---------------------------------------------------------------


def arp_request(source_mac: str, source: str, target: str) -> bytes:
    """A virtio-net header and an ARP request (RFC 826)."""
    mac = bytes.fromhex(source_mac.replace(":", ""))
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, socket.inet_aton(source), bytes(6),
                      socket.inet_aton(target))  # fmt: skip
    return bytes(10) + b"\xff" * 6 + mac + b"\x08\x06" + arp + bytes(18)


def receive_arp(tap: int, operation: int) -> tuple[str, str]:
    """Sender's MAC address and IP address of the next ARP packet of this kind."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([tap], [], [], 0.5)[0]:
            frame = os.read(tap, 2048)[10:]
            if frame[12:14] == b"\x08\x06" and frame[20:22] == operation.to_bytes(2, "big"):
                return frame[22:28].hex(":"), socket.inet_ntoa(frame[28:32])
    raise TimeoutError("no ARP packet came")


def address_of(lease: Lease) -> str:
    return lease["attachment"].ipv4_address.partition("/")[0]


def process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


# --- attachments -----------------------------------------------------------------------------------------------------


async def test_the_gateway_answers_a_tap(helper: Helper) -> None:
    async with helper.attached("a") as lease:
        attachment = lease["attachment"]
        assert attachment.ipv4_address == "192.168.64.2/24"
        assert attachment.ipv4_gateway == "192.168.64.1"
        assert attachment.mtu == 1280
        assert attachment.mac_address is not None
        tap = lease["tap"].fileno()
        os.write(tap, arp_request(attachment.mac_address, "192.168.64.2", "192.168.64.1"))
        assert receive_arp(tap, 2)[1] == "192.168.64.1"


async def test_two_taps_see_each_other(helper: Helper) -> None:
    async with helper.attached("a", mac_address="F2-00-00-00-00-0A", mtu=9000) as one, helper.attached("b") as other:
        os.write(one["tap"].fileno(), arp_request("f2:00:00:00:00:0a", address_of(one), address_of(other)))
        assert receive_arp(other["tap"].fileno(), 1) == ("f2:00:00:00:00:0a", address_of(one))
        assert one["attachment"].mtu == 9000
        assert one["attachment"].mac_address == "f2:00:00:00:00:0a"


async def test_an_address_is_its_containers_until_it_hangs_up_and_is_not_reused_at_once(helper: Helper) -> None:
    async with helper.attached("a") as first:
        assert set(await helper.client.call(Network.Attachments)) == {"a"}
        async with helper.attached("b") as second:
            assert {address_of(first), address_of(second)} == {"192.168.64.2", "192.168.64.3"}
    async with helper.attached("c") as third:
        assert address_of(third) == "192.168.64.4"
        assert set(await helper.client.call(Network.Attachments)) == {"c"}


async def test_attaching_is_fast(helper: Helper) -> None:
    times = [60.0]
    while min(times) >= 0.1 and sum(times) < 120:  # the best of them, for others may be busy
        started = time.monotonic()
        async with helper.attached("a"):
            times.append(time.monotonic() - started)
    assert min(times) < 0.1


async def test_bad_options_are_refused(helper: Helper) -> None:
    for options in ({"mac_address": "f2:00"}, {"mtu": 1279}):
        with pytest.raises(ContainerError) as caught:
            async with helper.attached("a", **options):
                pass
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert await helper.client.call(Network.Attachments) == {}


# --- the way out -----------------------------------------------------------------------------------------------------

DNS_SERVER = Path(netlab.__file__).with_name("dns_server.py")
FETCH = """
import socket, sys
with socket.create_connection((sys.argv[1], 7002), 5) as s:
    print(sum(map(len, iter(lambda: s.recv(1 << 18), b""))))
"""


@contextlib.contextmanager
def outside_server(helper: Helper, *argv: str) -> Iterator[None]:
    """A server on the helper's host, as root."""
    command = ["nsenter", "-t", str(helper.host), "-n", "--", sys.executable, *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


async def test_a_guest_reaches_the_outside_through_nat(helper: Helper) -> None:
    with outside_server(helper, str(netlab.GUEST_SERVER), OUTSIDE):
        async with helper.attached("a") as lease:
            with helper.guest(lease) as guest:
                assert netlab.output(guest, sys.executable, "-c", FETCH, OUTSIDE) == "100000000\n"


async def test_the_gateway_forwards_dns_to_the_hosts_resolver(helper: Helper) -> None:
    with outside_server(helper, str(DNS_SERVER), OUTSIDE):
        async with helper.attached("a") as lease:
            with helper.guest(lease) as guest:
                for transport in ("udp", "tcp"):
                    assert netlab.ask(guest, "192.168.64.1", "some.example.org", transport=transport) == "10.1.2.3"


async def test_a_guest_does_not_reach_the_loopback_of_the_host(helper: Helper) -> None:
    with outside_server(helper, str(netlab.GUEST_SERVER), "127.0.0.1"):
        async with helper.attached("a") as lease:
            with helper.guest(lease) as guest, pytest.raises(AssertionError):
                netlab.output(guest, sys.executable, "-c", FETCH, "192.0.2.2")


async def test_a_published_port_reaches_a_guest(helper: Helper) -> None:
    async with helper.attached("a") as lease:
        with helper.guest(lease) as guest, netlab.guest_server(guest, address_of(lease)):
            bound = bind_ports([PublishPort("127.0.0.1", 0, 7000)])
            endpoint = bound.sockets[0][0].getsockname()
            userns = lease["userns"]
            relay = start_relay(
                bound,
                ipv4=address_of(lease),
                ipv6=None,
                netns=lease["netns"].fileno(),
                userns=None if userns is None else userns.fileno(),
            )
            async with relay:
                reader, writer = await asyncio.open_connection(*endpoint)
                writer.write(b"through the relay, over the bridge")
                writer.write_eof()
                assert await reader.read() == b"through the relay, over the bridge"
                writer.close()


async def test_a_network_without_uplink_has_none(host: Helper) -> None:
    await host.start(mode="hostOnly")
    async with host.attached("a") as lease:
        userns = lease["userns"]
        namespace = netlab.Namespace(lease["netns"].fileno(), None if userns is None else userns.fileno())
        assert "uplink0" not in await namespace.links()
        assert "uplink" not in host.state()
    await host.stop()


@pytest.fixture
def far_away() -> Iterator[tuple[Helper, str]]:
    """A host of root's, and an address behind it that echoes: further away than the host itself."""
    with nethelper.host(user_of("root")) as host, nethelper.far_away(host) as far, netlab.guest_server(far, FAR):
        yield host, FAR


async def test_a_veth_uplink_reaches_further_than_the_host_and_leaves_nothing(far_away: tuple[Helper, str]) -> None:
    host, address = far_away
    on_host = ["nsenter", "-t", str(host.host), "-n", "--"]

    def rules() -> str:
        return subprocess.run([*on_host, "nft", "list", "tables"], capture_output=True, text=True, check=True).stdout

    await host.start("--variant", "veth")
    async with host.attached("a") as lease:
        with host.guest(lease) as guest:
            assert netlab.output(guest, sys.executable, "-c", FETCH, address) == "100000000\n"
            host.kill()
            await host.start("--variant", "veth")
            assert netlab.output(guest, sys.executable, "-c", FETCH, address) == "100000000\n"
            assert "table inet ctr" in rules()
            with netlab.guest_server(guest, address_of(lease)):
                connect = [*on_host, sys.executable, "-c", FETCH, address_of(lease)]
                assert subprocess.run(connect, capture_output=True, text=True, check=True).stdout == "100000000\n"
                ids = ["setpriv", f"--reuid={ordinary.make_user()}", "--clear-groups"]
                stranger = [*on_host, *ids, sys.executable, "-c", FETCH.replace(", 5)", ", 1)"), address_of(lease)]
                assert "timed out" in subprocess.run(stranger, capture_output=True, text=True).stderr
            host.kill()
            await host.start()  # another uplink takes its place
            async with host.attached("b"):
                assert rules() == ""
            assert netlab.output(guest, sys.executable, "-c", FETCH, address) == "100000000\n"
    await host.stop()
    links = subprocess.run([*on_host, "ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    assert "ctr" not in links


async def test_a_veth_uplink_takes_no_route_of_the_hosts() -> None:
    with nethelper.host(user_of("root")) as host:
        await host.start("--variant", "veth", "--subnet", "10.99.0.0/25")
        with pytest.raises(ContainerError, match=r"10\.99\.0\.0/25 overlaps 10\.99\.0\.0/24, which this host reaches"):
            async with host.attached("a"):
                pass
        with netlab.Namespace.of(host.host) as on_host:
            assert "10.99.0.0/25" not in netlab.output(on_host, "ip", "route")
        await host.stop()


async def test_ipv6_passes_a_veth_uplink_where_the_host_forwards_it() -> None:
    with nethelper.host(user_of("root")) as host, nethelper.far_away(host) as far:
        for forwards in (False, True):
            with netlab.Namespace.of(host.host) as on_host:
                netlab.output(on_host, "sysctl", "-q", f"net.ipv6.conf.all.forwarding={int(forwards)}")
            with netlab.guest_server(far, FAR_IPV6):
                await host.start("--variant", "veth")
                async with host.attached("a") as lease:
                    with host.guest(lease) as guest:
                        attachment = lease["attachment"]
                        netlab.output(guest, "ip", "addr", "add", str(attachment.ipv6_address), "dev", "eth0", "nodad")
                        netlab.output(guest, "ip", "route", "add", "default", "via", str(attachment.ipv6_gateway))
                        if forwards:
                            assert netlab.output(guest, sys.executable, "-c", FETCH, FAR_IPV6) == "100000000\n"
                        else:
                            with pytest.raises(AssertionError):
                                netlab.output(guest, sys.executable, "-c", FETCH, FAR_IPV6)
                await host.stop()


# --- crash and return ------------------------------------------------------------------------------------------------

CAP_NET_BIND_SERVICE = 10
PULSE = f"""
import socket, time
with socket.create_connection(({OUTSIDE!r}, 7000), 5) as s:
    print("ready", flush=True)
    while True:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        print("beat", flush=True)
        time.sleep(0.01)
"""


async def test_a_killed_helper_comes_back_and_traffic_never_stops(helper: Helper) -> None:
    with outside_server(helper, str(netlab.GUEST_SERVER), OUTSIDE):
        async with helper.attached("a") as lease, helper.attached("gone") as ended:
            with (
                helper.guest(lease) as guest,
                netlab.popen(guest, sys.executable, "-c", PULSE, stdout=subprocess.PIPE) as pulse,
            ):
                assert pulse.stdout is not None
                assert pulse.stdout.readline() == "ready\n"
                before = helper.state()
                helper.kill()
                for _ in range(20):
                    assert pulse.stdout.readline() == "beat\n"
                ended["tap"].close()  # its VM ends while no helper is there
                await helper.start()
                assert set(await helper.client.call(Network.Attachments)) == {"a"}
                attachment = lease["attachment"]
                async with helper.attached("a", mac_address=attachment.mac_address) as again, helper.attached("b") as b:
                    assert again["attachment"] == attachment
                    assert address_of(b) == "192.168.64.4"
                after = helper.state()
                assert (after["holder"], after["uplink"]) == (before["holder"], before["uplink"])
                for _ in range(20):
                    assert pulse.stdout.readline() == "beat\n"
                pulse.kill()


async def test_what_takes_apart_the_containers_packets_can_do_little_else(helper: Helper) -> None:
    async with helper.attached("a"):
        uplink = Path("/proc", str(helper.state()["uplink"]["process"]["pid"]))
        status = dict(line.split(":\t", 1) for line in uplink.joinpath("status").read_text().splitlines())
        assert int(status["Seccomp"]) == 2
        assert int(status["CapEff"], 16) & ~(1 << CAP_NET_BIND_SERVICE) == 0
        assert {"home", "usr", "proc"}.isdisjoint(os.listdir(uplink / "root"))


async def test_a_killed_uplink_is_started_again(helper: Helper) -> None:
    with outside_server(helper, str(netlab.GUEST_SERVER), OUTSIDE):
        async with helper.attached("a") as lease:
            with helper.guest(lease) as guest:
                uplink = helper.state()["uplink"]["process"]["pid"]
                os.kill(uplink, signal.SIGKILL)
                async with asyncio.timeout(60):
                    while helper.state()["uplink"]["process"]["pid"] == uplink:
                        await asyncio.sleep(0.01)
                assert netlab.output(guest, sys.executable, "-c", FETCH, OUTSIDE) == "100000000\n"


async def test_an_uplink_that_died_with_the_helper_is_started_by_the_next(helper: Helper) -> None:
    async with helper.attached("a"):
        uplink = helper.state()["uplink"]["process"]["pid"]
        helper.kill()
        os.kill(uplink, signal.SIGKILL)
        await helper.start()
        async with helper.attached("b"):
            assert helper.state()["uplink"]["process"]["pid"] != uplink


async def test_an_uplink_that_nobody_took_note_of_is_replaced(helper: Helper) -> None:
    async with helper.attached("a"):
        state, path = helper.state(), Path(helper.roots.run, "networks/default.json")
        helper.kill()
        stray = state.pop("uplink")["process"]["pid"]
        path.write_text(json.dumps(state))
        await helper.start()
        async with helper.attached("b"):
            assert helper.state()["uplink"]["process"]["pid"] != stray
            assert process_state(stray) in {"gone", "Z"}


async def test_a_killed_holder_is_replaced_and_the_namespace_goes_on(helper: Helper) -> None:
    async with helper.attached("a") as lease:
        holder = helper.state()["holder"]["pid"]
        os.kill(holder, signal.SIGKILL)
        async with asyncio.timeout(60):
            while helper.state()["holder"]["pid"] == holder:
                await asyncio.sleep(0.01)
        attachment = lease["attachment"]
        assert attachment.mac_address is not None
        tap = lease["tap"].fileno()
        os.write(tap, arp_request(attachment.mac_address, "192.168.64.2", "192.168.64.1"))
        assert receive_arp(tap, 2)[1] == "192.168.64.1"
        async with helper.attached("b") as other:
            assert address_of(other) == "192.168.64.3"


async def test_a_corrupt_state_is_reported_and_does_not_stop_the_network(host: Helper) -> None:
    path = Path(host.roots.run, "networks/default.json")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    if host.user is not None:
        subprocess.run(["chown", "-R", host.user, host.base / "run"], check=True)
    host.base.joinpath("run").chmod(0o700)
    await host.start()
    async with host.attached("a") as lease:
        assert address_of(lease) == "192.168.64.2"
    assert str(path) in host.log.read_text()
    await host.stop()


async def test_a_changed_subnet_makes_the_network_anew(host: Helper) -> None:
    await host.start()
    async with host.attached("a"):
        host.kill()
    await host.start("--subnet", "10.88.0.0/24")
    async with host.attached("b") as lease:
        assert lease["attachment"].ipv4_gateway == "10.88.0.1"
    await host.stop()


async def test_stopping_removes_everything(helper: Helper) -> None:
    async with helper.attached("a"):
        state = helper.state()
    await helper.stop()
    assert process_state(state["holder"]["pid"]) in {"gone", "Z"}
    assert process_state(state["uplink"]["process"]["pid"]) in {"gone", "Z"}
    assert not [path for path in Path(helper.roots.run).rglob("*") if not path.is_dir()]


# --- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["slirp4netns", "nft"])
async def test_a_missing_program_is_named_with_its_package(host: Helper, program: str) -> None:
    where = subprocess.run(["which", program], capture_output=True, text=True, check=True).stdout.strip()
    hide = ["nsenter", "-t", str(host.host), "-m", "mount", "--bind", "/dev/null", where]
    subprocess.run(hide, check=True)
    await host.start("--option", "uplink=slirp4netns")
    with pytest.raises(ContainerError, match=f"package {'nftables' if program == 'nft' else program}"):
        async with host.attached("a"):
            pass
    assert await host.client.call(Network.Attachments) == {}
    subprocess.run(["nsenter", "-t", str(host.host), "-m", "umount", where], check=True)
    async with host.attached("a") as lease:  # tried again at once, not after the back-off
        assert address_of(lease) == "192.168.64.3"
    await host.stop()


async def test_a_closed_tun_device_is_named_with_the_remedy() -> None:
    with nethelper.host(user_of("ordinary-user"), tun_mode="0600") as host:
        await host.start()
        with pytest.raises(ContainerError, match=r"cannot open /dev/net/tun; .*chmod 0666 /dev/net/tun"):
            async with host.attached("a"):
                pass
        await host.stop()
