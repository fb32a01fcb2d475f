"""Containers that find each other by name, on networks of their own, and programs that talk between them."""

import asyncio
import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator

import pytest
from support import images, ports
from support.system import System, settle

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

DATABASE = """
redis-server --bind '*' -::* --protected-mode no --daemonize yes >/dev/null
exec python3 -c '
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 7000))
while True:
    data, peer = s.recvfrom(2000)
    s.sendto(b"echo of " + data, peer)
'
"""
ASK_UDP = """
import socket, sys
family = socket.AF_INET6 if sys.argv[2] == "6" else socket.AF_INET
(*_, address), *_ = socket.getaddrinfo(sys.argv[1], 7000, family, socket.SOCK_DGRAM)
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(10)
s.sendto(b"datagram", address)
print(s.recv(100).decode())
"""
CONNECT = """
import socket, sys
for target in sys.argv[1:]:
    try:
        with socket.create_connection((target, 6379), 2) as s:
            s.settimeout(2)
            s.sendall(b"PING\\r\\n")
            if s.recv(5) == b"+PONG":
                print(target)
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def town(debian_system: System) -> Iterator[System]:
    """`db` (redis, UDP echo; alias `cache`) and `web` on one network, `stranger` on another."""
    system = debian_system
    system.run("network", "create", "town")
    system.run("network", "create", "elsewhere")
    small = ("-d", "-c", "1", "-m", "400m")
    system.run(
        "run", *small, "--name", "db", "--network", "town,alias=cache", "nginx:debian", "sh", "-c", DATABASE
    )  # fmt: skip
    system.run("run", *small, "--name", "web", "--network", "town", "nginx:debian", "sleep", "100000")
    system.run("run", *small, "--name", "stranger", "--network", "elsewhere", "nginx:debian", "sleep", "100000")
    yield system
    system.run("delete", "-f", "db", "web", "stranger")
    system.run("network", "delete", "town", "elsewhere")


def redis(system: System, container: str, host: str, *command: str) -> str:
    return system.output("exec", container, "redis-cli", "-h", host, *command)


def test_redis_is_reached_from_another_container_by_name_and_by_alias(town: System) -> None:
    assert settle(lambda: redis(town, "web", "db", "ping"), lambda text: text == "PONG", 30) == "PONG"
    assert redis(town, "web", "db", "set", "key", "value") == "OK"
    for name in ("db", "cache", "DB"):
        assert redis(town, "web", name, "get", "key") == "value", name


def test_datagrams_pass_by_name_with_ipv4_and_ipv6(town: System) -> None:
    for version in ("4", "6"):
        assert town.output("exec", "web", "python3", "-c", ASK_UDP, "db", version) == "echo of datagram", version


def test_ping_passes_with_ipv4_and_ipv6(town: System) -> None:
    def ping(version: str) -> list[str]:
        return ["run", "--rm", "-c", "1", "-m", "256m", "--network", "town", "busybox", "sh", "-c", version]

    assert "2 packets received" in town.output(*ping("ping -c2 -W10 db && ping6 -c2 -W10 db"))


def test_containers_of_another_network_reach_neither_name_nor_address(town: System) -> None:
    attachment = town.inspect("db")["status"]["networks"][0]
    addresses = [attachment[key].partition("/")[0] for key in ("ipv4Address", "ipv6Address")]
    assert town.output("exec", "web", "python3", "-c", CONNECT, "db", *addresses).split() == ["db", *addresses]
    assert town.output("exec", "stranger", "python3", "-c", CONNECT, "db", *addresses) == ""


def test_a_second_container_cannot_have_the_name(town: System) -> None:
    result = town.run(
        "run", "--rm", "-c", "1", "-m", "256m", "--name", "other", "--network", "town,alias=db", "busybox", "true",
        check=False,
    )  # fmt: skip
    assert 'hostname(s) already exist: ["db."]' in result.stderr
    assert result.returncode == 1


def test_a_killed_network_helper_is_not_noticed(town: System) -> None:
    for pid, words in town.processes().items():
        if "container.plugins.network.main" in words and "town" in words:
            os.kill(pid, 9)
    assert redis(town, "web", "db", "get", "key") == "value"
    assert redis(town, "web", "cache", "get", "key") == "value"


async def load(port: int, connections: int, seconds: float) -> tuple[int, int]:
    """Fetch nginx's page over and over in `connections` connections at once: answers, and what was lost."""
    request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    deadline = time.monotonic() + seconds
    answered = lost = 0

    async def client() -> None:
        nonlocal answered, lost
        while time.monotonic() < deadline:
            try:
                async with asyncio.timeout(60):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(request)
                    answer = await reader.read()
                    writer.close()
            except OSError:
                lost += 1
                continue
            good = answer.startswith(b"HTTP/1.1 200") and answer.endswith(images.NGINX_PAGE.encode())
            answered, lost = answered + good, lost + (not good)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(client())
    return answered, lost


@pytest.fixture
def only_once(system: System) -> None:
    if system.user is not None:
        pytest.skip("the same for every user, and this takes long")


async def test_nginx_under_many_connections_loses_none(debian_system: System) -> None:
    seconds = 30 if debian_system.user is None else 3  # the relay is the same for an ordinary user
    port, name = ports.reserve(), "loaded"
    debian_system.run(
        "run", "-d", "--name", name, "-c", "1", "-m", "512m", "-p", f"127.0.0.1:{port}:80", "nginx:debian"
    )
    try:
        await asyncio.to_thread(settle, lambda: asyncio.run(load(port, 1, 0.1)), lambda seen: seen[0] > 0, 30)
        answered, lost = await load(port, 500, seconds)
    finally:
        debian_system.run("delete", "-f", name)
    print(f"{answered} answers in {seconds} s, {lost} lost")
    assert lost == 0
    assert answered >= 500


def test_apt_get_update_works_through_the_way_out(only_once: None, debian_system: System) -> None:
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True
    )
    sites = {urllib.parse.urlsplit(site).hostname: site for site in listed.stdout.split()}
    for host, site in sites.items():
        port = 443 if site.startswith("https") else 80
        try:
            socket.create_connection((host or "", port), 5).close()
        except OSError as error:
            pytest.skip(f"this machine does not reach the package registry that it is set up for: {error}")
    script = (
        "apt-get update -o Acquire::Check-Date=false -o Acquire::Retries=2 && apt-cache policy hello | grep Candidate"
    )
    result = debian_system.run(
        "run", "--rm", "-c", "1", "-m", "768m", "nginx:debian", "sh", "-c", script, timeout=300, check=False
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Candidate: " in result.stdout
