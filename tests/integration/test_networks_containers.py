"""What a container has of its networks: interfaces, names, published ports and sockets."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import peer, ports
from support.system import System, settle

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(not shutil.which("cc") or not shutil.which("ssh-agent"), reason="needs cc and ssh-agent"),
]
SMALL = ("-c", "1", "-m", "256m")
MAC = "f2:00:00:00:00:09"
IDENTITIES = b"\0\0\0\1\x0b"  # SSH_AGENTC_REQUEST_IDENTITIES (draft-miller-ssh-agent, 4.4)


@dataclass(frozen=True)
class House:
    """A container on two networks, with everything published, and the paths and ports that belong to it."""

    system: System
    port: int  # and the two after it; then one on the IPv6 loopback
    socket: str
    ipv6: str

    def sh(self, script: str, **options: object) -> str:
        """Output of a shell script in the container."""
        return self.system.output("exec", "house", "sh", "-c", script, **options)


@pytest.fixture(scope="module")
def house(system: System) -> Iterator[House]:
    """One boot for the whole module."""
    system.run("network", "create", "second")
    (default,) = json.loads(system.output("network", "inspect", "default"))
    ipv6 = default["status"]["ipv6Subnet"].replace("::/64", "::77")
    directory = system.base / "run" / "published"
    port, path = ports.reserve(4), str(directory / "deep" / "up.sock")
    with peer.ssh_agent(system, system.base / "home") as agent:
        system.run(
            *("run", "-d", "--name", "house", *SMALL, "--ssh", "--publish-socket", f"{path}:/run/up.sock"),
            *("--network", f"default,ip=192.168.64.77,ip6={ipv6}", "--network", f"second,mtu=1400,mac={MAC}"),
            *("-p", f"{port}-{port + 2}:7000-7002", "-p", f"[::1]:{port + 3}:7000"),
            *("-p", f"127.0.0.1:{port}-{port + 2}:7000-7002/udp", "-p", f"[::1]:{port + 3}:7000/udp"),
            *("-v", f"{agent}:/run/mounted.sock"),
            *("--hostname", "myhost", "--add-host", "db:10.0.0.9", "--add-host", "gate=host-gateway"),
            *("--dns", "9.9.9.9", "--dns", "2001:db8::1", "--dns-domain", "d.example", "--dns-search", "s.example"),
            *("--dns-search", "t.example", "--dns-option", "ndots:2", "busybox", "sleep", "100000"),
            env={"SSH_AUTH_SOCK": agent},
        )
        try:
            peer.install(system, "house")
            for number in (7000, 7001, 7002):
                system.run("exec", "-d", "house", "/bin/peer", "echo", str(number))
            system.run("exec", "-d", "house", "/bin/peer", "upper", "/run/up.sock")
            yield House(system, port, path, ipv6)
        finally:
            system.run("delete", "-f", "house")
            system.run("network", "delete", "second")


def test_two_networks_two_interfaces(house: House) -> None:
    first, second = house.system.inspect("house")["status"]["networks"]
    assert (first["network"], first["ipv4Address"], first["mtu"]) == ("default", "192.168.64.77/24", 1280)
    assert first["ipv6Address"] == f"{house.ipv6}/64"
    assert (second["network"], second["macAddress"], second["mtu"]) == ("second", MAC, 1400)
    assert second["ipv6Address"].split("/")[0].endswith(":f000:ff:fe00:9")
    links = house.sh("cat /sys/class/net/eth0/mtu /sys/class/net/eth1/mtu /sys/class/net/eth1/address")
    assert links.splitlines() == ["1280", "1400", MAC]
    addresses = house.sh("ip -o addr show; ip route; ip -6 route")
    for attachment, name in ((first, "eth0"), (second, "eth1")):
        for key in ("ipv4Address", "ipv6Address"):
            assert any(name in line and attachment[key] in line for line in addresses.splitlines()), addresses
    defaults = [line for line in addresses.splitlines() if line.startswith("default")]
    assert len(defaults) == 2
    assert all("dev eth0" in line for line in defaults)


def test_names_and_resolver(house: House) -> None:
    assert house.sh("hostname; cat /etc/hostname").splitlines() == ["myhost", "myhost"]
    assert house.sh("cat /etc/hosts").splitlines() == [
        "127.0.0.1 localhost",
        "192.168.64.77 myhost",
        "10.0.0.9 db",
        "192.168.64.1 gate",
    ]
    assert house.sh("cat /etc/resolv.conf").splitlines() == [
        "nameserver 9.9.9.9",
        "nameserver 2001:db8::1",
        "domain d.example",
        "search s.example t.example",
        "options ndots:2",
    ]


def test_published_tcp_ports(house: House) -> None:
    for offset in range(3):
        question = os.urandom(100_000)
        assert peer.ask_tcp("127.0.0.1", house.port + offset, question) == question
    assert peer.ask_tcp("::1", house.port + 3, b"over IPv6") == b"over IPv6"
    assert house.system.inspect("house")["configuration"]["publishedPorts"][0] == {
        "containerPort": 7000,
        "count": 3,
        "hostAddress": "0.0.0.0",
        "hostPort": house.port,
        "proto": "tcp",
    }


def test_published_udp_ports(house: House) -> None:
    for offset in range(3):
        assert peer.ask_udp("127.0.0.1", house.port + offset, b"datagram") == b"datagram"
    assert peer.ask_udp("::1", house.port + 3, b"over IPv6") == b"over IPv6"


def test_a_published_socket(house: House) -> None:
    question = b"abc" * 400_000
    assert peer.ask_unix(house.socket, question) == question.upper()
    assert house.system.inspect("house")["configuration"]["publishedSockets"] == [
        {"containerPath": "/run/up.sock", "hostPath": house.socket}
    ]


def test_the_ssh_agent_is_in_the_container(house: House) -> None:
    assert house.sh("echo $SSH_AUTH_SOCK") == "/var/host-services/ssh-auth.sock"
    assert _identities(house, "$SSH_AUTH_SOCK").endswith(b"a-test-key")
    assert house.sh("tr '\\0' '\\n' < /proc/1/environ | grep SSH_AUTH_SOCK").endswith("/ssh-auth.sock")


def test_a_socket_of_the_host_is_mounted(house: House) -> None:
    assert _identities(house, "/run/mounted.sock").endswith(b"a-test-key")


def _identities(house: House, path: str) -> bytes:
    script = f"(cat; sleep 1) | peer unix {path}"  # ssh-agent drops the answer when the question ends at once
    command = ("exec", "-i", "-u", "nobody", "house", "sh", "-c", script)
    answer = bytes(house.system.run(*command, input=IDENTITIES, text=False).stdout)
    assert answer[4] == 12  # SSH_AGENT_IDENTITIES_ANSWER
    return answer


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("-p", "PORT:80"), "is already in use"),
        (("-p", "127.0.0.1:PORT:80/udp"), "is already in use"),
        (("--publish-socket", "SOCKET:/run/x"), "already exists and may be in use"),
        (
            ("--network", "default,ip=192.168.64.77"),
            "address 192.168.64.77 is already in use on network default by house",
        ),
        (("--network", f"second,mac={MAC}"), f"MAC address {MAC} is already in use on network second by house"),
        (("-p", "203.0.113.7:PORT:80"), "this host has no address 203.0.113.7"),
    ],
)
def test_what_is_taken_fails_before_a_machine_boots(house: House, options: tuple[str, ...], text: str) -> None:
    words = [word.replace("PORT", str(house.port)).replace("SOCKET", house.socket) for word in options]
    began = time.monotonic()
    result = house.system.run("run", "--name", "second", *SMALL, *words, "busybox", "true", check=False)
    assert result.returncode == 1
    assert text in result.stderr
    assert time.monotonic() - began < 5
    assert house.system.run("inspect", "second", check=False).returncode == 1
    assert Path(house.socket).is_socket()


def test_everything_is_free_again_after_the_stop(house: House) -> None:
    house.system.run("stop", "-t", "0", "house")
    assert settle(lambda: [ports.is_free(house.port + n) for n in range(4)], all, 5) == [True] * 4
    assert not Path(house.socket).exists()
    assert house.system.inspect("house")["status"]["networks"] == []


def test_no_network_and_no_resolver(system: System) -> None:
    if system.user is not None:
        pytest.skip("the same for every user")
    script = "ls /sys/class/net; cat /etc/hosts; cat /etc/resolv.conf || echo none"
    output = system.output(
        *("run", "--rm", *SMALL, "--name", "alone", "--network", "none", "--no-dns", "busybox", "sh", "-c", script)
    )
    assert output.splitlines() == ["lo", "127.0.0.1 localhost", "none"]
