"""`container network`: what it prints, refuses and keeps."""

import json
import os
from typing import Any

import pytest
from support.system import System

pytestmark = pytest.mark.vm
BUILTIN = {"com.apple.container.resource.role": "builtin"}


def _networks(system: System) -> dict[str, Any]:
    return {each["id"]: each for each in json.loads(system.output("network", "list", "--format", "json"))}


def _refused(system: System, *arguments: str) -> str:
    result = system.run("network", *arguments, check=False)
    assert result.returncode == 1, result
    assert result.stdout == ""
    return str(result.stderr).strip()


def test_a_network_is_made_listed_shown_and_deleted(system: System) -> None:
    assert system.output("network", "create", "--label", "a.b/c=1=2", "--label", "plain", "one") == "one"
    try:
        found = _networks(system)
        assert set(found) == {"default", "one"}
        assert found["default"]["configuration"]["labels"] == BUILTIN
        one = found["one"]
        assert one["configuration"]["labels"] == {"a.b/c": "1=2", "plain": ""}
        assert one["configuration"]["mode"] == "nat"
        assert one["configuration"]["plugin"] == "container-network-bridge"
        assert "ipv4Subnet" not in one["configuration"]
        subnet = one["status"]["ipv4Subnet"]
        assert subnet.endswith(".0/24")
        assert subnet != found["default"]["status"]["ipv4Subnet"]
        assert one["status"]["ipv4Gateway"] == subnet.replace(".0/24", ".1")
        assert one["status"]["ipv6Subnet"].endswith("::/64")
        assert json.loads(system.output("network", "inspect", "one", "one")) == [one]
        header, first, second = system.output("network", "ls").splitlines()
        assert header.split() == ["NETWORK", "SUBNET"]
        assert (first.split()[0], second.split()) == ("default", ["one", subnet])
        assert system.output("n", "list", "-q").splitlines() == ["default", "one"]
    finally:
        assert system.output("network", "rm", "one", "one") == "one"
    assert set(_networks(system)) == {"default"}


def test_an_internal_network_has_the_subnets_that_were_asked_for(system: System) -> None:
    system.run(
        *("network", "create", "--internal", "--subnet", "10.77.5.9/16", "--subnet-v6", "fd00:77:0:1::/64"),
        *("--option", "host-loopback=false", "inner"),
    )
    try:
        inner = _networks(system)["inner"]
        assert inner["configuration"]["mode"] == "hostOnly"
        assert inner["configuration"]["options"] == {"host-loopback": "false"}
        assert inner["configuration"]["ipv4Subnet"] == inner["status"]["ipv4Subnet"] == "10.77.0.0/16"
        assert inner["configuration"]["ipv6Subnet"] == inner["status"]["ipv6Subnet"] == "fd00:77:0:1::/64"
        overlap = _refused(system, "create", "--subnet", "10.77.3.0/24", "x")
        expected = "Error: IPv4 subnet 10.77.3.0/24 overlaps an existing network with subnet 10.77.0.0/16"
        assert overlap == expected
        assert "IPv6 subnet fd00:77:0:1::/64 overlaps" in _refused(
            system, "create", "--subnet-v6", "fd00:77:0:1::/64", "x"
        )
    finally:
        system.run("network", "delete", "inner")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("create", "Upper"), "Error: invalid network name: Upper"),
        (("create", "none"), "Error: network none is not a valid name"),
        (("create", "default"), "Error: network default already exists"),
        (("create", "--plugin", "nope", "x"), "Error: unable to locate network plugin nope"),
        (("create", "--label", "Bad=1", "x"), "invalid_label_key_content"),
        (("create", "--label", "k" * 129, "x"), "invalid_label_key_length"),
        (
            ("create", "--option", "uplink=carrier-pigeon", "x"),
            "Error: invalid network option uplink=carrier-pigeon: must be one of auto, slirp4netns, pasta, veth, none",
        ),
        (("create", "--option", "mtu=9000", "x"), "unknown network option 'mtu'"),
        (("create", "--option", "host-loopback", "x"), "host-loopback=: must be true or false"),
        (("create", "--internal", "--option", "uplink=slirp4netns", "x"), "contradicts --internal"),
        (("create", "--internal", "--option", "host-loopback=true", "x"), "needs a way out"),
        (("delete",), "Error: no networks specified and --all not supplied"),
        (("delete", "-a", "x"), "Error: explicitly supplied network name(s) conflict with the --all flag"),
        (("delete", "default"), "Error: cannot delete a builtin network: default"),
        (("delete", "x", "a"), 'Error: failed to delete one or more networks: ["a", "x"]'),
        (("inspect", "y", "x", "default"), "Error: network not found: x, y"),
    ],
)
def test_what_is_refused(system: System, arguments: tuple[str, ...], text: str) -> None:
    message = _refused(system, *arguments)
    assert text in message
    assert not text.startswith("Error:") or message.startswith(text)
    assert set(_networks(system)) == {"default"}


def test_a_way_out_that_is_not_the_users_is_refused(system: System) -> None:
    root = os.geteuid() == 0 and system.user is None
    kind, text = ("pasta", "pasta cannot enter a network of root's") if root else ("veth", "veth is for root only")
    assert text in _refused(system, "create", "--option", f"uplink={kind}", "x")
    assert set(_networks(system)) == {"default"}


def test_a_subnet_that_is_none_is_a_usage_error(system: System) -> None:
    result = system.run("network", "create", "--subnet", "10.0.0/8", "x", check=False)
    assert result.returncode == 64
    assert "invalid CIDR" in result.stderr


def test_a_network_that_a_stopped_container_refers_to_stays(system: System) -> None:
    for name in ("used", "free"):
        system.run("network", "create", name)
    system.run("create", "--name", "refers", "--network", "used", "busybox", "true")
    try:
        result = system.run("network", "delete", "used", "free", check=False)
        assert result.returncode == 1
        assert result.stdout == "free\n"
        assert result.stderr == (
            'Error: delete failed for one or more networks: ["used"]: '
            "cannot delete subnet used with referring containers: refers; delete those first\n"
        )
        assert system.output("network", "prune") == ""
    finally:
        system.run("delete", "refers")
    assert system.output("network", "prune") == "used"


def test_all_leaves_the_built_in_one(system: System) -> None:
    for name in ("b", "a"):
        system.run("network", "create", name)
    assert sorted(system.output("network", "delete", "--all").splitlines()) == ["a", "b"]
    assert set(_networks(system)) == {"default"}
    assert system.output("network", "delete", "--all") == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--network", "nope"), "network nope not found"),
        (("--network", "none", "--network", "default"), "no other networks may be created along with network none"),
        (("--network", "default,ip=10.0.0.1"), "network default (192.168.64.0/24) has no address 10.0.0.1"),
        (("--network", "default,ip=192.168.64.1"), "has no address 192.168.64.1 for a container"),
        (("--network", "default,ip=x"), "invalid ip value 'x'"),
        (
            ("--network", "default,mac=00:00:00:00:00:00"),
            "invalid MAC address 00:00:00:00:00:00: no interface can have it",
        ),
        (("--network", "default,mac=01:00:00:00:00:01"), "it is a multicast address"),
        (
            ("--network", "default,mac=f2:00:00:00:00:01", "--network", "default,mac=F2-00-00-00-00-01"),
            "cannot give two interfaces of a container the same MAC address f2:00:00:00:00:01",
        ),
        (("--network", "default,vlan=3"), "unknown network property 'vlan'. Available properties: mac, mtu"),
        (("--network", "none", "-p", "8080:80"), "cannot publish ports of a container without a network"),
        (("--add-host", "db"), "invalid add-host value db. Expected: name:address"),
        (("--hostname", "-"), "invalid hostname '-'"),
        (("--publish-socket", "/a"), "invalid publish-socket format /a. Expected: host_path:container_path"),
    ],
)
def test_what_a_container_cannot_have(system: System, arguments: tuple[str, ...], text: str) -> None:
    result = system.run("create", "--name", "cannot", *arguments, "busybox", check=False)
    assert result.returncode == 1
    assert text in result.stderr
    assert system.run("inspect", "cannot", check=False).returncode == 1
