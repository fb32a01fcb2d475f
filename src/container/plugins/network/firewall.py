"""The nftables rules inside a network's namespace, as text for `nft -f -`. Pure."""

from ipaddress import IPv4Address

from container.plugins.network.plan import BRIDGE, UPLINK, Plan


def ruleset(plan: Plan, resolver: IPv4Address | None) -> str:
    """Forwarding from the bridge to the uplink and back only, masquerading on the way out.

    DNS queries to the gateway go to `resolver`. Traffic between bridge ports passes, also where br_netfilter makes
    the bridge call these hooks.
    """
    dns = ""
    if resolver is not None:
        dns = f"""
  chain resolve {{
    type nat hook prerouting priority dstnat;
    iifname {BRIDGE} ip daddr {plan.ipv4_gateway} udp dport 53 dnat ip to {resolver}
    iifname {BRIDGE} ip daddr {plan.ipv4_gateway} tcp dport 53 dnat ip to {resolver}
  }}"""
    return f"""table inet container
delete table inet container
table inet container {{
  chain routed {{
    type filter hook forward priority filter; policy drop;
    iifname {BRIDGE} oifname {{ {BRIDGE}, {UPLINK} }} accept
    iifname {UPLINK} oifname {BRIDGE} ct state established,related accept
  }}
  chain outbound {{
    type nat hook postrouting priority srcnat;
    oifname {UPLINK} masquerade
  }}{dns}
}}
"""
