"""`container-apiserver`: assembles the services and serves them until told to stop.

Started by the supervisor, which passes the listening socket: whoever connects before it serves simply waits. TERM ends
it, and leaves helpers and containers alone: the next API server finds them.
"""

import asyncio
import sys
from contextlib import AsyncExitStack

from container import config, log, paths
from container.apiserver.background import Background
from container.apiserver.catalogue import Catalogue, register
from container.apiserver.containers import prune
from container.apiserver.containers.creation import Creation
from container.apiserver.containers.files import FilesService, RemoteFileHelpers
from container.apiserver.containers.files_handler import FilesHandler
from container.apiserver.containers.handler import ContainersHandler
from container.apiserver.containers.helper import RemoteImageStore, SupervisedHelpers
from container.apiserver.containers.launch import Launches
from container.apiserver.containers.lifecycle import Lifecycle
from container.apiserver.containers.records import ContainerRecords
from container.apiserver.containers.service import ContainersService
from container.apiserver.containers.starts import Starts
from container.apiserver.host import architecture
from container.apiserver.networks.handler import NetworksHandler
from container.apiserver.networks.helper import RemoteNetworkHelpers
from container.apiserver.networks.records import NetworkRecord, entities
from container.apiserver.networks.service import NetworksService
from container.apiserver.system.handler import SystemHandler
from container.apiserver.system.housekeeping import Housekeeping
from container.apiserver.system.machines import AcceleratorProbe, InstalledKernels
from container.apiserver.system.service import SystemService
from container.apiserver.system.usage import Usage, logs_inside, of_containers, of_images, of_volumes, of_whole
from container.apiserver.volumes import records as volume_records
from container.apiserver.volumes.handler import VolumesHandler
from container.apiserver.volumes.service import VolumesService
from container.ipc.server import serve, stop_on_signals
from container.model.job import Job
from container.paths import Roots
from container.supervisor.builtin import BuiltinSupervisor


async def run(roots: Roots, debug: bool) -> None:
    """Serve until TERM or INT."""
    stop = stop_on_signals()
    tables = config.load(roots)
    supervisor = BuiltinSupervisor(roots)
    catalogue = Catalogue(roots, debug, config.dns_domain(tables))
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(Background())
        kernels, probe, starts = InstalledKernels(roots), AcceleratorProbe(roots), Starts()
        system = SystemService(roots, supervisor.name, architecture(), kernels, probe, catalogue, tasks, starts)

        def network_job(record: NetworkRecord) -> Job:
            asked = record.configuration
            return catalogue.network_job(asked, record.ipv4_subnet, record.ipv6_subnet)

        async def users_of(network: str) -> list[str]:
            return await containers.on_network(network)

        async def users_of_volume(volume: str) -> list[str]:
            return await containers.with_volume(volume)

        volumes = VolumesService(volume_records.entities(roots), users_of_volume, tasks)
        defaults = config.network_defaults(tables)
        networks = NetworksService(
            entities(roots), network_job, RemoteNetworkHelpers(), supervisor, defaults, users_of, tasks
        )
        records = ContainerRecords(roots)
        helpers = SupervisedHelpers(catalogue, supervisor)
        launches = Launches(system, networks)
        images = RemoteImageStore(roots.socket(paths.IMAGES))
        creation = Creation(
            *(images, helpers, launches, config.container_defaults(tables)),
            *(config.dns_domain(tables), architecture(), volumes),
        )
        lifecycle = Lifecycle(records, helpers, launches, tasks, starts)
        containers = ContainersService(records, helpers, creation, lifecycle, tasks)
        for job in catalogue.boot_jobs():
            await register(supervisor, job)
        tasks.start(containers.recover(), "the recovery of containers", vital=True)
        tasks.start(networks.load(), "the loading of networks", vital=True)
        tasks.start(volumes.load(), "the loading of volumes", vital=True)
        tasks.start(system.probe(), "the accelerator probe")
        files = FilesService(containers, helpers, launches, RemoteFileHelpers(roots), tasks)
        kept = Housekeeping(roots, kernels, lifecycle, supervisor.list)
        usage = Usage(
            of_images(roots.socket(paths.IMAGES)),
            of_containers(containers, roots),
            of_volumes(volumes, containers.with_volume),
            *(kept.kernels, kept.caches, kept.logs, of_whole(roots), logs_inside(roots)),
        )
        handlers = [
            *(SystemHandler(system, usage, kept), ContainersHandler(containers, prune.of(containers, roots))),
            *(NetworksHandler(networks), VolumesHandler(volumes), FilesHandler(files)),
        ]
        await (await serve(handlers, service=paths.APISERVER, roots=roots)).run(stop)


def main() -> None:
    """Entry point: `container-apiserver [start] [--debug]`."""
    debug = "--debug" in sys.argv[1:]
    log.setup(debug=debug)
    asyncio.run(run(Roots.from_environment(), debug))


if __name__ == "__main__":
    main()
