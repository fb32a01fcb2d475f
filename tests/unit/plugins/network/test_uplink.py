"""Which uplink a network gets, and the addresses that it takes."""

from ipaddress import IPv4Network

import pytest

from container.linux import routes
from container.plugins.network import uplink
from container.plugins.network.plan import Plan, make_plan


def plan(subnet: str | None = None) -> Plan:
    return make_plan(id="n", mode="nat", subnet=subnet, subnet_v6=None, site="", has_ipv6=True)


@pytest.mark.parametrize(
    ("reached", "subnet", "expected"),
    [
        ([], None, "192.0.2.0/24"),
        (["192.0.2.0/25"], None, "198.51.100.0/24"),
        ([], "192.0.2.128/25", "198.51.100.0/24"),
        (["192.0.2.4/30", "198.51.0.0/16"], None, "203.0.113.0/24"),
        (["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"], None, "192.0.2.0/24"),
    ],
)
def test_the_way_out_hides_neither_the_network_nor_what_the_host_has_routes_to(
    monkeypatch: pytest.MonkeyPatch, reached: list[str], subnet: str | None, expected: str
) -> None:
    monkeypatch.setattr("container.linux.routes.ipv4_subnets", lambda: [IPv4Network(route) for route in reached])
    assert uplink.free_subnet(plan(subnet)) == IPv4Network(expected)


def test_the_routes_of_this_host_can_be_read() -> None:
    assert all(network.prefixlen > 0 for network in routes.ipv4_subnets())
