"""Who has which address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import ContainerError, ErrorCode
from container.model.network import AttachmentOptions
from container.plugins.network.leases import Lease, LeaseTable
from container.plugins.network.plan import make_plan
from container.plugins.network.state import LeaseRecord

MAC = "f2:00:00:00:00:01"
PLAN = make_plan(id="n", mode="nat", subnet="192.168.64.0/24", subnet_v6="fd00:1:2:3::/64", site="", has_ipv6=True)
V6 = "fd00:1:2:3::9"


def table(subnet: str = "192.168.64.0/24", **options: object) -> LeaseTable:
    plan = make_plan(id="n", mode="nat", subnet=subnet, subnet_v6=None, site="", has_ipv6=False)
    return LeaseTable(plan, **options)  # type: ignore[arg-type]


def claim(leases: LeaseTable, container: str, mac: str | None = None) -> Lease:
    return leases.claim(
        container=container, options=AttachmentOptions(container), mac_address=mac, mtu=1280, tap=leases.next_tap()
    )


def test_addresses_start_after_the_gateway() -> None:
    leases = table()
    assert [str(claim(leases, name).address) for name in "abc"] == ["192.168.64.2", "192.168.64.3", "192.168.64.4"]


def test_an_address_is_not_reused_at_once() -> None:
    leases = table()
    first = claim(leases, "a")
    leases.release(first)
    assert claim(leases, "b").address == first.address + 1


def test_addresses_come_round_again_and_then_run_out() -> None:
    leases = table("10.0.0.0/29")
    held = [claim(leases, str(number)) for number in range(5)]  # .2 to .6
    with pytest.raises(ContainerError, match=r"network n has no free address left in 10\.0\.0\.0/29") as caught:
        claim(leases, "x")
    assert caught.value.code is ErrorCode.INVALID_STATE
    leases.release(held[2])
    assert claim(leases, "x").address == held[2].address


def test_a_given_mac_address_is_kept_and_a_missing_one_made() -> None:
    leases = table()
    assert claim(leases, "a", MAC).mac_address == MAC
    assert claim(leases, "b").mac_address[:2] in {"f2", "f6", "fa", "fe"}


def test_a_mac_address_belongs_to_one_container() -> None:
    leases = table()
    claim(leases, "a", MAC)
    with pytest.raises(ContainerError, match=f"MAC address {MAC} is already in use on network n by a") as caught:
        claim(leases, "b", MAC)
    assert caught.value.code is ErrorCode.EXISTS


def test_after_a_restart_the_same_container_and_mac_get_the_address_back() -> None:
    record = LeaseRecord("a", "a", "192.168.64.9", MAC, 1280, ["tap1"])
    leases = table(records=[record], last_address="192.168.64.9", last_tap=4)
    assert leases.has_unclaimed
    assert str(claim(leases, "b").address) == "192.168.64.10"
    again = claim(leases, "a", MAC)
    assert str(again.address) == "192.168.64.9"
    assert again.taps == ["tap1", "tap6"], "the tap in the VM goes on, so its name is kept"
    assert not leases.has_unclaimed


def test_after_a_restart_only_leases_with_a_live_tap_count() -> None:
    records = [LeaseRecord(name, name, f"10.0.0.{n}", f"f2:00:00:00:00:0{n}", 1280, [f"tap{n}"]) for n, name in
               enumerate("ab", 2)]  # fmt: skip
    leases = table("10.0.0.0/24", records=records)
    fresh = claim(leases, "c")
    leases.drop_dead({"lo", "br0", "tap3"})
    assert [lease.container for lease in leases] == ["b", "c"]
    assert fresh.claims == 1


def test_a_second_claim_outlives_the_first() -> None:
    leases = table()
    first = claim(leases, "a", MAC)
    second = claim(leases, "a", MAC)
    assert first is second
    leases.release(first)
    assert [lease.container for lease in leases] == ["a"]
    leases.release(second)
    assert not list(leases)


@given(st.lists(st.integers(min_value=0, max_value=12), max_size=60))
def test_no_address_is_ever_given_twice(steps: list[int]) -> None:
    leases = table("10.0.0.0/28")
    held: list[Lease] = []
    for step in steps:
        if step < len(held):
            leases.release(held.pop(step))
        elif len(held) < 13:
            held.append(claim(leases, str(step)))
        addresses = [lease.address for lease in held]
        assert len(set(addresses)) == len(addresses)
        assert all(2 <= int(address) & 15 <= 14 for address in addresses)


def test_an_address_that_is_asked_for_is_given_once() -> None:
    leases = LeaseTable(PLAN)
    wanted = AttachmentOptions("a", ipv4_address="192.168.64.9", ipv6_address=V6)

    def ask(container: str) -> Lease:
        return leases.claim(container=container, options=wanted, mac_address=None, mtu=1280, tap=leases.next_tap())

    lease = ask("a")
    assert (str(lease.address), str(lease.ipv6_address)) == ("192.168.64.9", V6)
    with pytest.raises(ContainerError, match=r"address 192.168.64.9 is already in use on network .* by a"):
        ask("b")
    leases.release(lease)
    assert str(ask("b").address) == "192.168.64.9"


@pytest.mark.parametrize("text", ["192.168.64.0", "192.168.64.1", "192.168.64.255", "10.0.0.1", "fd00::1", "x"])
def test_an_address_that_no_container_can_have_is_refused(text: str) -> None:
    with pytest.raises(ContainerError) as caught:
        PLAN.static_ipv4(text)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
