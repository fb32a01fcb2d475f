"""The names of a network."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from container.plugins.network.dns.zone import HOST_NAME, Answer, Host, Outcome, Zone

IPV4, IPV6 = IPv4Network("192.168.64.0/24"), IPv6Network("fd00:1::/64")
WEB = Host("web.test.", IPv4Address("192.168.64.2"), IPv6Address("fd00:1::2"), ("www", "shared"))
DB = Host("db", IPv4Address("192.168.64.3"), None, ("shared",))


def zone(domain: str | None = "test", *hosts: Host) -> Zone:
    made = Zone(IPV4, IPV6, domain, [IPV4[1], IPV6[1]])
    made.update(hosts or (WEB, DB))
    return made


def test_a_container_is_known_by_name_and_alias_with_and_without_the_domain_in_any_case() -> None:
    for name in ("web", "web.test", "WEB.Test", "www", "www.test"):
        assert zone().lookup(name, "A") == Answer(Outcome.EXISTS, ("192.168.64.2",)), name
        assert zone().lookup(name, "AAAA") == Answer(Outcome.EXISTS, ("fd00:1::2",)), name


def test_a_host_name_without_the_domain_has_it_all_the_same() -> None:
    for name in ("db", "db.test"):
        assert zone().lookup(name, "A") == Answer(Outcome.EXISTS, ("192.168.64.3",))


def test_a_known_name_has_no_data_of_other_types() -> None:
    assert zone().lookup("db", "AAAA") == Answer(Outcome.EXISTS)
    assert zone().lookup("web", "MX") == Answer(Outcome.EXISTS)
    assert zone().lookup("test", "A") == Answer(Outcome.EXISTS)


def test_an_alias_of_two_containers_is_both() -> None:
    assert zone().lookup("shared", "A") == Answer(Outcome.EXISTS, ("192.168.64.2", "192.168.64.3"))


@pytest.mark.parametrize("name", ["nobody", "nobody.test", "deep.nobody.test", "x.container.internal"])
def test_an_unknown_name_of_ours_does_not_exist(name: str) -> None:
    assert zone().lookup(name, "A") == Answer(Outcome.UNKNOWN)


@pytest.mark.parametrize(("name", "kind"), [("example.com", "A"), ("com", "NS"), ("", "NS"), ("mytest.org", "A")])
def test_everything_else_is_for_others(name: str, kind: str) -> None:
    assert zone().lookup(name, kind) is None


def test_without_a_domain_a_name_is_plain() -> None:
    assert zone(None).lookup("web.test", "A") == Answer(Outcome.EXISTS, ("192.168.64.2",))
    assert zone(None).lookup("db.test", "A") is None
    assert zone(None).lookup("web", "A") == Answer(Outcome.UNKNOWN)


def test_an_address_of_the_network_is_found_by_its_reverse_name() -> None:
    assert zone().lookup("2.64.168.192.in-addr.arpa", "PTR") == Answer(Outcome.EXISTS, ("web.test",))
    reverse = IPv6Address("fd00:1::2").reverse_pointer
    assert zone().lookup(reverse.upper(), "PTR") == Answer(Outcome.EXISTS, ("web.test",))
    assert zone().lookup(reverse, "A") == Answer(Outcome.EXISTS)
    assert zone().lookup("9.64.168.192.in-addr.arpa", "PTR") == Answer(Outcome.UNKNOWN)


@pytest.mark.parametrize(
    "name", ["8.8.8.8.in-addr.arpa", "64.168.192.in-addr.arpa", "x.in-addr.arpa", "1.2.ip6.arpa", "in-addr.arpa"]
)
def test_other_reverse_names_are_for_others(name: str) -> None:
    assert zone().lookup(name, "PTR") is None


def test_the_host_is_the_gateway_until_it_is_told_otherwise() -> None:
    made = zone()
    assert made.lookup(HOST_NAME, "A") == Answer(Outcome.EXISTS, ("192.168.64.1",))
    made.set_host([IPv4Address("192.0.2.2")])
    assert made.lookup(HOST_NAME, "A") == Answer(Outcome.EXISTS, ("192.0.2.2",))
    assert made.lookup(HOST_NAME, "AAAA") == Answer(Outcome.EXISTS)
    assert made.lookup("web", "A") == Answer(Outcome.EXISTS, ("192.168.64.2",))
