"""The nftables rules inside a network's namespace, as text for `nft -f -`. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from container.linux.relay import MARK_ANSWER, MARK_CALL
from container.plugins.network.plan import BRIDGE, UPLINK, Plan

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class WayOut:
    """What lies behind the uplink without being the outside: `closed` to containers, except `host` if they may."""

    closed: tuple[IPv4Network | IPv6Network, ...] = ()
    host: tuple[Address, ...] = ()
    host_may_enter: bool = False  # the host itself is on the other side, and may open connections to containers


@dataclass(frozen=True)
class Port:
    """A bridge port, and who may speak there."""

    name: str
    mac_address: str
    ipv4: IPv4Address
    ipv6: IPv6Address | None = None
    link_local: IPv6Address | None = None


def ruleset(plan: Plan, way: WayOut) -> str:
    """Routing and what the gateway itself answers: DNS, ping, and neighbour discovery, to containers only.

    Traffic between bridge ports passes, also where br_netfilter makes the bridge call these hooks. Answers to what the
    port relay said in a client's name are marked: by its routing rule they go to the relay, not to the client.
    """
    gateways = [_is(plan.ipv4_gateway)] + ([_is(plan.ipv6_gateway)] if plan.ipv6_gateway is not None else [])
    dns = "".join(
        f"    iifname {BRIDGE} {gateway} {proto} dport 53 accept\n" for gateway in gateways for proto in ("udp", "tcp")
    )
    host = "".join(f"    iifname {BRIDGE} oifname {UPLINK} {_is(address)} accept\n" for address in way.host)
    closed = "".join(f"    iifname {BRIDGE} oifname {UPLINK} {_is(network)} drop\n" for network in way.closed)
    enter = f"    iifname {UPLINK} oifname {BRIDGE} ct state new accept\n" if way.host_may_enter else ""
    return f"""table inet container
delete table inet container
table inet container {{
  chain gateway {{
    type filter hook input priority filter; policy drop;
    iifname lo accept
    ct state established,related accept
{dns}    iifname {BRIDGE} icmp type echo-request accept
    iifname {BRIDGE} icmpv6 type {{ echo-request, nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept
    iifname {UPLINK} meta l4proto 58 accept comment "ICMPv6; by number, a bare Debian has no /etc/protocols"
  }}
  chain routed {{
    type filter hook forward priority filter; policy drop;
    iifname {BRIDGE} oifname {BRIDGE} accept
    ct state established,related accept
{host}{closed}    iifname {BRIDGE} oifname {UPLINK} accept
{enter}  }}
  chain calls {{
    type filter hook output priority mangle;
    meta mark {MARK_CALL} ct state new ct mark set {MARK_ANSWER}
  }}
  chain answers {{
    type filter hook prerouting priority mangle;
    iifname {BRIDGE} ct direction reply ct mark {MARK_ANSWER} meta mark set {MARK_ANSWER}
  }}
  chain outbound {{
    type nat hook postrouting priority srcnat;
    oifname {UPLINK} masquerade
  }}
}}
"""


def guards(ports: Iterable[Port]) -> str:
    """Who may say what on which bridge port; nothing passes from a tap that is not among `ports`.

    Nor does a frame with a VLAN tag: what is in it would be looked at only in part, and a receiver takes off that of
    VLAN 0 (IEEE 802.1Q, priority-tagged frames).
    """
    ports = list(ports)
    chains = "".join(_chain(port) for port in ports)
    return f"""table bridge container
delete table bridge container
table bridge container {{
{chains}  map ports {{
    type ifname : verdict;
{_elements(ports)}  }}
  chain ingress {{
    type filter hook prerouting priority -300; policy accept;
    iifname "tap*" ether type != {{ arp, ip, ip6 }} drop
    iifname vmap @ports
    iifname "tap*" drop
  }}
}}
"""


def guard_change(added: Iterable[Port], removed: Iterable[str]) -> str:
    """The same for a few ports more, and fewer."""
    added, removed = list(added), list(removed)
    lines = [f"delete element bridge container ports {{ {name} : jump {name} }}\n" for name in removed]
    lines += [f"delete chain bridge container {name}\n" for name in removed]
    if added:
        lines.append(f"table bridge container {{\n{''.join(map(_chain, added))}}}\n")
    lines += [f"add element bridge container ports {{ {port.name} : jump {port.name} }}\n" for port in added]
    return "".join(lines)


def _elements(ports: list[Port]) -> str:
    if not ports:
        return ""
    return f"    elements = {{ {', '.join(f'{port.name} : jump {port.name}' for port in ports)} }}\n"


def _chain(port: Port) -> str:
    """ARP (RFC 826), neighbour discovery (RFC 4861) and IP, each only with the port's own addresses as the sender.

    `@th,64,128` is the target of a neighbour advertisement, or solicitation. Who asks for the members of multicast
    groups (IGMP, MLD) would decide where the bridge sends these, neighbour solicitations among them: no container does.
    """
    sources = [address for address in (port.ipv6, port.link_local) if address is not None]
    ipv6 = ""
    if sources:
        targets = ", ".join(f"{int(address):#x}" for address in sources)
        ipv6 = f"""    icmpv6 type {{ nd-router-advert, nd-redirect, mld-listener-query }} drop
    icmpv6 type nd-neighbor-advert @th,64,128 != {{ {targets} }} drop
    ip6 saddr {{ {", ".join(map(str, sources))} }} accept
    ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 {{ {targets} }} accept
    ip6 saddr :: icmpv6 type mld2-listener-report accept
"""
    return f"""  chain {port.name} {{
    ether saddr != {port.mac_address} drop
    ether type arp arp saddr ether {port.mac_address} arp saddr ip {port.ipv4} accept
    ether type arp arp operation request arp saddr ether {port.mac_address} arp saddr ip 0.0.0.0 accept
    igmp type membership-query drop
    ip saddr {port.ipv4} accept
{ipv6}    drop
  }}
"""


def _is(target: Address | IPv4Network | IPv6Network) -> str:
    return f"{'ip' if target.version == 4 else 'ip6'} daddr {target}"
