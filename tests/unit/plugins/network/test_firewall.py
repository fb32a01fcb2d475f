"""The rules inside a network, as nft understands them."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from support import netlab

from container.plugins.network.firewall import Port, WayOut, guard_change, guards, ruleset
from container.plugins.network.guard import Guard
from container.plugins.network.plan import make_plan

PLAN = make_plan(id="n", mode="nat", subnet=None, subnet_v6=None, site="", has_ipv6=True)
WAY = WayOut(closed=(IPv4Network("192.0.2.0/24"),), host=(IPv4Address("192.0.2.2"),))


def port(number: int) -> Port:
    mac = f"f2:00:00:00:00:{number:02x}"
    ipv6 = PLAN.ipv6_address(mac)
    return Port(f"tap{number}", mac, PLAN.ipv4[number], ipv6, PLAN.link_local_address(mac))


async def test_nft_takes_the_rules_and_takes_them_again() -> None:
    netlab.require_namespaces(taps=False)
    async with netlab.bridged_namespace() as namespace:
        for _ in range(2):
            await namespace.run("nft", "-f", "-", data=ruleset(PLAN, WAY).encode())
            await namespace.run("nft", "-f", "-", data=guards([port(2), port(3)]).encode())
        await namespace.run("nft", "-f", "-", data=guard_change([port(4)], ["tap2"]).encode())
        listed = await namespace.run("nft", "list", "ruleset")
    assert listed.count("table inet") == 1
    assert listed.count("masquerade") == 1
    assert listed.count("chain tap") == 2
    assert "chain tap2" not in listed


async def test_a_guard_changes_only_what_has_changed() -> None:
    netlab.require_namespaces(taps=False)
    guard = Guard(PLAN)
    async with netlab.bridged_namespace() as namespace:
        await guard.establish(namespace, WAY, [port(2)])
        await guard.establish(namespace, WAY, [port(2), port(3)])
        moved = replace(port(2), ipv4=IPv4Address("192.168.64.9"))
        await guard.establish(namespace, WayOut(), [moved])
        listed = await namespace.run("nft", "list", "ruleset")
    assert "192.168.64.9" in listed
    assert "192.0.2.0" not in listed
    assert listed.count("chain tap") == 1


def test_what_is_behind_the_uplink_is_closed_unless_it_is_the_host_and_that_is_allowed() -> None:
    rules = ruleset(PLAN, WAY)
    assert rules.index("192.0.2.2 accept") < rules.index("192.0.2.0/24 drop")
    assert "192.0.2.2 accept" not in ruleset(PLAN, replace(WAY, host=()))


def test_a_port_without_ipv6_may_not_speak_it() -> None:
    rules = guards([Port("tap2", "f2:00:00:00:00:02", IPv4Address("192.168.64.2"))])
    assert "ip6 saddr" not in rules
    assert "fe80" in guards([replace(port(2), ipv6=IPv6Address("fd00::5"))])
