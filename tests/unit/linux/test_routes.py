"""The host's routing table."""

from ipaddress import IPv4Network

from container.linux import routes

TABLE = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0102A8C0	0003	0	0	0	00000000	0	0	0
eth0	0002A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
"""


def test_destinations_without_the_default_route() -> None:
    found = list(routes._destinations(TABLE.splitlines()[1:]))
    assert found == [IPv4Network("192.168.2.0/24"), IPv4Network("10.0.0.0/8")]


def test_this_hosts_table_can_be_read() -> None:
    assert all(isinstance(subnet, IPv4Network) for subnet in routes.ipv4_subnets())
