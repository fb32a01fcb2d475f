"""Addresses of a network."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from container.errors import ContainerError, ErrorCode
from container.plugins.network.plan import Plan, check_mtu, make_plan, random_mac


def plan(**changes: Any) -> Plan:
    arguments = {"id": "default", "mode": "nat", "subnet": None, "subnet_v6": None, "site": "here", "has_ipv6": True}
    return make_plan(**(arguments | changes))


def test_the_default_network_has_the_contracts_subnet() -> None:
    assert plan().ipv4 == IPv4Network("192.168.64.0/24")
    assert plan().ipv4_gateway == IPv4Address("192.168.64.1")


def test_the_ipv6_prefix_is_a_stable_unique_local_one() -> None:
    made = plan().ipv6
    assert made is not None
    assert made.prefixlen == 64
    assert made.subnet_of(IPv6Network("fd00::/8"))
    assert made == plan().ipv6
    assert made != plan(site="there").ipv6
    other = plan(id="other").ipv6
    assert other is not None
    assert other != made
    assert other.network_address.packed[:6] == made.network_address.packed[:6], "one global id per site"


def test_without_ipv6_in_the_kernel_there_is_no_prefix() -> None:
    made = plan(has_ipv6=False, subnet_v6="fd00:1::/64")
    assert made.ipv6 is None
    assert made.ipv6_gateway is None
    assert made.ipv6_address("f2:00:00:00:00:01") is None


def test_the_ipv6_address_is_the_modified_eui64_of_the_mac_address() -> None:
    made = plan(subnet_v6="2001:db8::/64")
    assert made.ipv6_address("34:56:78:9a:bc:de") == IPv6Address("2001:db8::3656:78ff:fe9a:bcde")
    assert made.ipv6_gateway == IPv6Address("2001:db8::1")


def test_the_bridge_has_a_stable_local_unicast_mac_address() -> None:
    assert plan().bridge_mac == plan().bridge_mac != plan(id="other").bridge_mac
    assert plan().bridge_mac.startswith("02:")


@pytest.mark.parametrize(
    "changes",
    [
        {"subnet": "10.0.0.0/31"},
        {"subnet": "nonsense"},
        {"subnet_v6": "fd00::/48"},
        {"subnet_v6": "10.0.0.0/24"},
        {"mode": "bridge"},
    ],
)
def test_unusable_arguments_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ContainerError, match="invalid") as caught:
        plan(**changes)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_random_mac_addresses_are_the_contracts() -> None:
    made = {random_mac() for _ in range(200)}
    assert len(made) == 200
    assert {mac[:2] for mac in made} == {"f2", "f6", "fa", "fe"}


def test_the_mtu_is_checked() -> None:
    assert check_mtu(None) == 1280
    assert check_mtu(65535) == 65535
    for mtu in (1279, 65536):
        with pytest.raises(ContainerError, match=f"invalid mtu value '{mtu}': must be between 1280 and 65535"):
            check_mtu(mtu)
