"""The names that a network knows: its containers', the host's, and what it says is not there. Pure."""

import enum
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

HOST_NAME = "host.container.internal"
_INTERNAL = "container.internal"
# A name of one label is nobody's but a network's; the root zone's own records of it are another matter.
_DELEGATION_TYPES = frozenset({"NS", "SOA", "DS", "DNSKEY"})
Address = IPv4Address | IPv6Address
_REVERSE_V4, _REVERSE_V6 = ".in-addr.arpa", ".ip6.arpa"


class Outcome(enum.Enum):
    """What a zone says of a name: `EXISTS` also when it has nothing of the type that was asked for."""

    EXISTS = "exists"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """`records` are of the type that was asked for, as text without final dots."""

    outcome: Outcome
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    """A container: its host name, further names, its addresses."""

    hostname: str
    ipv4: IPv4Address
    ipv6: IPv6Address | None = None
    aliases: tuple[str, ...] = ()


@dataclass
class _Entry:
    ipv4: list[IPv4Address] = field(default_factory=list)
    ipv6: list[IPv6Address] = field(default_factory=list)


class Zone:
    """Names are compared without regard to case, and come without their final dot."""

    def __init__(
        self, ipv4: IPv4Network, ipv6: IPv6Network | None, domain: str | None, host: Iterable[Address]
    ) -> None:
        """`host`: the addresses that HOST_NAME stands for."""
        self._subnets: tuple[IPv4Network | IPv6Network, ...] = (ipv4,) if ipv6 is None else (ipv4, ipv6)
        self.domain = domain.strip(".").lower() if domain else None
        self._hosts: tuple[Host, ...] = ()
        self.set_host(host)

    def set_host(self, addresses: Iterable[Address]) -> None:
        """Replace the addresses of HOST_NAME."""
        self._own = _Entry()
        for address in addresses:
            _note(self._own, address)
        self.update(self._hosts)

    def update(self, hosts: Iterable[Host]) -> None:
        """Replace the containers."""
        self._hosts = tuple(hosts)
        self._names: dict[str, _Entry] = {HOST_NAME: self._own}
        self._reverse: dict[Address, list[str]] = {}
        own: list[Address] = [*self._own.ipv4, *self._own.ipv6]
        self._reverse.update((address, [HOST_NAME]) for address in own)
        for host in self._hosts:
            addresses: list[Address] = [host.ipv4] if host.ipv6 is None else [host.ipv4, host.ipv6]
            for name in self.names(host):
                entry = self._names.setdefault(name, _Entry())
                for address in addresses:
                    _note(entry, address)
            for address in addresses:
                self._reverse.setdefault(address, []).append(self.forms(host.hostname)[0])

    def names(self, host: Host) -> list[str]:
        """Every name of a container, in every form, once."""
        forms = [form for name in (host.hostname, *host.aliases) for form in self.forms(name)]
        return list(dict.fromkeys(forms))

    def forms(self, name: str) -> tuple[str, ...]:
        """The names under which a host name is known, the fullest first: with the domain and without."""
        plain = name.rstrip(".").lower()
        if self.domain is None:
            return (plain,)
        suffix = f".{self.domain}"
        if plain.endswith(suffix):
            return (plain, plain.removesuffix(suffix))
        return (plain,) if name.endswith(".") or "." in plain else (plain + suffix, plain)

    def lookup(self, name: str, kind: str) -> Answer | None:
        """What is known of `name` and the record type `kind`; None: it is for others to say."""
        name = name.lower()
        entry = self._names.get(name)
        if entry is not None:
            return Answer(Outcome.EXISTS, _records(entry, kind))
        if name.endswith((_REVERSE_V4, _REVERSE_V6)):
            return self._lookup_reverse(name, kind)
        if name in (self.domain, _INTERNAL):
            return Answer(Outcome.EXISTS)
        single = "." not in name and name != "" and kind not in _DELEGATION_TYPES
        own = self.domain is not None and name.endswith(f".{self.domain}")
        return Answer(Outcome.UNKNOWN) if single or own or name.endswith(f".{_INTERNAL}") else None

    def _lookup_reverse(self, name: str, kind: str) -> Answer | None:
        address = _reversed_address(name)
        if address is None:
            return None
        names = self._reverse.get(address)
        if names is not None:
            return Answer(Outcome.EXISTS, tuple(names) if kind == "PTR" else ())
        return Answer(Outcome.UNKNOWN) if any(address in subnet for subnet in self._subnets) else None


def _note(entry: _Entry, address: Address) -> None:
    if isinstance(address, IPv4Address):
        entry.ipv4.append(address)
    else:
        entry.ipv6.append(address)


def _records(entry: _Entry, kind: str) -> tuple[str, ...]:
    by_kind: Mapping[str, list[IPv4Address] | list[IPv6Address]] = {"A": entry.ipv4, "AAAA": entry.ipv6}
    return tuple(map(str, by_kind.get(kind, ())))


def _reversed_address(name: str) -> Address | None:
    """The address whose reverse name (RFC 1035 3.5, RFC 3596 2.5) this is, None when it names no single one."""
    try:
        if name.endswith(_REVERSE_V4):
            return IPv4Address(".".join(reversed(name.removesuffix(_REVERSE_V4).split("."))))
        digits = name.removesuffix(_REVERSE_V6).split(".")
        if len(digits) != 32 or any(len(digit) != 1 for digit in digits):
            return None
        return IPv6Address(bytes.fromhex("".join(reversed(digits))))
    except (ValueError, ipaddress.AddressValueError):
        return None
