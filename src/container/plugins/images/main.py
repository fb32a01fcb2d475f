"""The image helper: `container-core-images start`."""

import argparse
import asyncio
import logging
import resource

from container import config, log, paths, registryconfig
from container.errors import ContainerError
from container.ipc.server import serve, stop_on_signals
from container.oci.registry.endpoints import HostSettings, Settings
from container.paths import Roots
from container.plugins.images.handler import ImagesHandler
from container.plugins.images.service import opened

_log = logging.getLogger(__name__)
_MAX_FILES = 1 << 16  # a pull takes some 25, and the usual limit is 1024


def main() -> int:
    """Serve until SIGTERM; returns the exit status."""
    arguments = _parse()
    log.setup(debug=arguments.debug)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _MAX_FILES)), hard))
    try:
        asyncio.run(_run())
    except ContainerError as error:
        _log.error("%s", error)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    """The arguments of contract 4.3."""
    parser = argparse.ArgumentParser(prog="container-core-images", allow_abbrev=False)
    start = parser.add_subparsers(required=True).add_parser("start", help="serve the image store")
    start.add_argument("--debug", action="store_true")
    start.add_argument("--resources", help="accepted and not used")
    return parser.parse_args()


async def _run() -> None:
    stop = stop_on_signals()
    roots = Roots.from_environment()
    tables = config.load(roots)
    hosts = {host: HostSettings(*item) for host, item in registryconfig.hosts(tables).items()}
    settings = Settings(hosts, config.dns_domain(tables))
    async with opened(roots, config.registry_domain(tables), settings) as service:
        server = await serve([ImagesHandler(service)], service=paths.IMAGES, roots=roots)
        await service.repair(roots)
        async with server:
            await stop.wait()


if __name__ == "__main__":
    raise SystemExit(main())
