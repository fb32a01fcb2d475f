"""`container network create [options] NAME`."""

from __future__ import annotations

from container.cli import client, output
from container.cli.options import labels
from container.cli.spec import Argument, Command, Option, Values, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = "container-network-bridge"


def _cidr(version: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        import ipaddress

        kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
        try:
            return str(kind(text, strict=False))
        except ValueError as error:
            raise ValueError(f"invalid CIDR: {error}") from None

    return parse


def run(values: Values) -> int:
    """Make a network and print its name."""
    request = {
        "name": values.name,
        "mode": "hostOnly" if values.internal else "nat",
        "plugin": values.plugin,
        "labels": labels.parse_pairs(values.label),
        "options": labels.parse_pairs(values.options),
        "ipv4Subnet": values.subnet,
        "ipv6Subnet": values.subnet_v6,
    }
    network = client.call("Networks.Create", {"request": client.given(request)})["network"]
    output.line(network["id"])
    return 0


COMMAND = Command(
    "Create a network",
    run,
    options=[
        flag("internal", "--internal", "No way out: containers reach each other only"),
        Option("label", "--label", "Set a label, key[=value]", value="label", many=True),
        Option("options", "--option", "Set an option of the plugin, key=value", value="option", many=True),
        Option("plugin", "--plugin", "Network plugin", value="plugin", default=PLUGIN),
        Option("subnet", "--subnet", "IPv4 subnet, a free one if not given", value="subnet", parse=_cidr(4)),
        Option("subnet_v6", "--subnet-v6", "IPv6 subnet, a free one if not given", value="subnet-v6", parse=_cidr(6)),
    ],
    arguments=[Argument("name", "name", "Name of the network")],
)
