"""The helper of one network: `container-network-bridge start --id N --service-identifier S --mode nat|hostOnly`."""

import argparse
import asyncio
import logging
import os
import sys

from container import log
from container.errors import ContainerError
from container.ipc.server import serve, stop_on_signals
from container.model.network import NetworkMode
from container.model.network_options import UPLINK, parse_network_options
from container.paths import Roots
from container.plugins.network.handler import NetworkHandler
from container.plugins.network.plan import make_plan
from container.plugins.network.service import NetworkService
from container.plugins.network.state import StateFile
from container.plugins.network.uplink import make_uplink

_log = logging.getLogger(__name__)


def main() -> int:
    """Serve until SIGTERM; returns the exit status."""
    arguments = _parse()
    log.setup(debug=arguments.debug)
    try:
        asyncio.run(_run(arguments))
    except ContainerError as error:
        _log.error("%s", error)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    """The arguments of contract 4.3."""
    parser = argparse.ArgumentParser(prog="container-network-bridge", allow_abbrev=False)
    start = parser.add_subparsers(required=True).add_parser("start", help="serve one network")
    start.add_argument("--debug", action="store_true")
    start.add_argument("--resources", help="accepted and not used")
    start.add_argument("--id", required=True, help="name of the network")
    start.add_argument("--service-identifier", required=True, help="name of the socket to serve on")
    start.add_argument("--mode", required=True, help="nat or hostOnly")
    start.add_argument("--subnet", help="IPv4 subnet as CIDR")
    start.add_argument("--subnet-v6", help="IPv6 subnet as CIDR, a /64")
    start.add_argument("--domain", help="DNS domain of the containers' names")
    start.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="option of the network")
    start.add_argument("--variant", help="the uplink, as --option uplink")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    stop = stop_on_signals()
    roots = Roots.from_environment()
    plan = make_plan(
        id=arguments.id,
        mode=arguments.mode,
        subnet=arguments.subnet,
        subnet_v6=arguments.subnet_v6,
        site=f"{_machine_id()} {os.getuid()} {roots.app}",
        has_ipv6=_has_ipv6(),
    )
    options = parse_network_options(_options(arguments))
    nat = plan.mode is NetworkMode.NAT
    uplink = make_uplink(options.uplink, plan, host_loopback=options.host_loopback) if nat else None
    service = NetworkService(plan, StateFile(roots, plan.id), uplink, arguments.domain)
    server = await serve([NetworkHandler(service)], service=arguments.service_identifier, roots=roots)
    async with service.running():
        await server.run(stop)


def _options(arguments: argparse.Namespace) -> dict[str, str]:
    """The network's options; --variant, if given, is the uplink unless an option says so."""
    options = {UPLINK: arguments.variant} if arguments.variant else {}
    for option in arguments.option:
        key, _, value = option.partition("=")
        options[key] = value
    return options


def _has_ipv6() -> bool:
    """Whether the kernel can do IPv6 at all."""
    return os.path.isdir("/proc/sys/net/ipv6/conf")


def _machine_id() -> str:
    """What tells this machine from others (machine-id(5)); empty where there is none."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
