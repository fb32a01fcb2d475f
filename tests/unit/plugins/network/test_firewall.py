"""The rules inside a network, as nft understands them."""

import pytest
from support import netlab

from container.plugins.network.firewall import ruleset
from container.plugins.network.plan import make_plan
from container.plugins.network.slirp import Slirp


async def test_nft_takes_the_rules_and_takes_them_again() -> None:
    netlab.require_namespaces(taps=False)
    plan = make_plan(id="n", mode="nat", subnet=None, subnet_v6=None, site="", has_ipv6=True)
    async with netlab.bridged_namespace() as namespace:
        for _ in range(2):
            await namespace.run("nft", "-f", "-", data=ruleset(plan, Slirp(plan).resolver).encode())
        listed = await namespace.run("nft", "list", "ruleset")
    assert listed.count("table inet") == 1
    assert "ip daddr 192.168.64.1 udp dport 53 dnat ip to 192.0.2.3" in listed
    assert listed.count("masquerade") == 1


@pytest.mark.parametrize("field", ["udp", "tcp"])
def test_without_a_resolver_nothing_is_redirected(field: str) -> None:
    plan = make_plan(id="n", mode="nat", subnet=None, subnet_v6=None, site="", has_ipv6=True)
    assert f"{field} dport" not in ruleset(plan, None)
