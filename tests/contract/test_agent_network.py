"""Interfaces, addresses and routes, set by the real agent in a network namespace of its own: needs root."""

import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from container.errors import ErrorCode
from container.guest.client import GuestClient
from container.guest.process import GuestError
from container.guest.spec import ContainerSpec, InterfaceSpec, RouteSpec

from .conftest import output_of, process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

MACS = ("f2:00:00:00:00:0a", "f2:00:00:00:00:0b")
LINKS = f"ip link add eth0 address {MACS[1]} type veth peer name other address {MACS[0]}"
Start = Callable[..., socket.socket]


@asynccontextmanager
async def agent(start: Start) -> AsyncIterator[GuestClient]:
    """An agent with two interfaces, whose names are not in the order of the MACs, and a process to look around with."""
    if subprocess.run(["unshare", "-n", "sh", "-c", LINKS], capture_output=True, check=False).returncode != 0:
        pytest.skip("no veth interfaces here")
    async with GuestClient.connect(start("--plain", before=LINKS), timeout=20) as client:
        await client.start_init("p", process("sleep", "60"), ContainerSpec(hostname="test"))
        yield client


def eth(index: int, *addresses: str, routes: list[RouteSpec] | None = None, mtu: int | None = None) -> InterfaceSpec:
    """The specification of one interface."""
    return InterfaceSpec(MACS[index], f"eth{index}", list(addresses), routes or [], mtu)


async def test_interfaces_are_found_by_mac_renamed_and_configured(agent_socket: Start) -> None:
    routes = [RouteSpec("default", "192.168.64.1"), RouteSpec("default", "fd00::1"), RouteSpec("10.9.0.0/16")]
    async with agent(agent_socket) as client:
        await client.configure_network(
            [eth(0, "192.168.64.2/24", "fd00::2/64", routes=routes, mtu=1280), eth(1, "10.1.0.2/30")]
        )
        _, links = await output_of(client, "ip", "-o", "link")
        assert "eth0@eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1280" in links
        assert all(
            mac in line
            for mac, name in zip(MACS, ("eth0@", "eth1@"), strict=True)
            for line in links.splitlines()
            if f" {name}" in line
        )
        assert "lo: <LOOPBACK,UP,LOWER_UP>" in links
        _, addresses = await output_of(client, "ip", "-o", "addr", "show", "eth0")
        assert "192.168.64.2/24 brd 192.168.64.255" in addresses
        assert "fd00::2/64 scope global nodad" in addresses
        assert "tentative" not in next(line for line in addresses.splitlines() if "fd00::2" in line)
        _, routes4 = await output_of(client, "ip", "route")
        assert "default via 192.168.64.1 dev eth0" in routes4
        assert "10.9.0.0/16 dev eth0 scope link" in routes4
        _, routes6 = await output_of(client, "ip", "-6", "route")
        assert "default via fd00::1 dev eth0" in routes6


async def test_an_interface_gets_the_mac_that_it_is_to_have(agent_socket: Start) -> None:
    async with agent(agent_socket) as client:
        mac = "f2:00:00:00:00:0c"
        await client.configure_network([InterfaceSpec(mac, "eth0", ["192.168.64.2/24"], device=MACS[1])])
        _, link = await output_of(client, "ip", "-o", "link", "show", "eth0")
        assert f"link/ether {mac}" in link
        assert "UP" in link


async def test_lo_is_up_without_any_interface(agent_socket: Start) -> None:
    async with agent(agent_socket) as client:
        await client.configure_network([])
        assert (await output_of(client, "ip", "-o", "link", "show", "lo"))[1].count("LOOPBACK,UP,LOWER_UP") == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (InterfaceSpec("nonsense", "eth0", []), "nonsense"),
        (InterfaceSpec(MACS[0], "a-name-that-is-too-long", []), "a-name-that-is-too-long"),
        (eth(0, "192.168.64.2/33"), "192.168.64.2/33 is no address"),
        (eth(0, "fd00::2/129"), "fd00::2/129 is no address"),
        (eth(0, "192.168.64.2/24", routes=[RouteSpec("default", "x")]), '"default via x" is no route'),
        (eth(0, "192.168.64.2/24", routes=[RouteSpec("default", "10.0.0.1")]), "default via 10.0.0.1"),
    ],
)
async def test_what_cannot_be_configured_is_named(agent_socket: Start, spec: InterfaceSpec, words: str) -> None:
    async with agent(agent_socket) as client:
        with pytest.raises(GuestError) as caught:
            await client.configure_network([spec])
        assert words in caught.value.message
        assert caught.value.errno > 0


async def test_an_interface_that_never_appears_is_waited_for_and_named(agent_socket: Start) -> None:
    async with agent(agent_socket) as client:
        with pytest.raises(GuestError, match="no network interface with MAC 02:00:00:00:00:99") as caught:
            await client.configure_network([InterfaceSpec("02:00:00:00:00:99", "eth0", [])])
        assert caught.value.code is ErrorCode.NOT_FOUND
