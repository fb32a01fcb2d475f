"""The plugins of a system as the API server uses them: jobs for the supervisor, and what the CLI may become."""

import logging

from container.errors import ContainerError, ErrorCode, not_found
from container.model.job import Job
from container.model.network import NetworkConfiguration
from container.model.plugin import CLIPlugin
from container.paths import Roots
from container.supervisor.base import SupervisorBackend
from container.supervisor.discovery import discover
from container.supervisor.plugin import Plugin, Plugins, ServiceType

_log = logging.getLogger(__name__)


async def register(supervisor: SupervisorBackend, job: Job) -> None:
    """Register a job, in place of another one of its label. Raises ContainerError."""
    try:
        await supervisor.register(job)
    except ContainerError as error:
        if error.code is not ErrorCode.EXISTS:
            raise
        await supervisor.deregister(job.label)
        await supervisor.register(job)


class Catalogue:
    """Looks at the disk when it is asked for commands, or for a plugin that it does not know yet."""

    def __init__(self, roots: Roots, debug: bool, domain: str | None = None) -> None:
        """`domain` is the configured DNS domain, which the helpers of networks are told."""
        self._roots = roots
        self._debug = debug
        self._domain = domain
        self._known: Plugins | None = None

    def cli(self) -> list[CLIPlugin]:
        """The plugins without services, sorted by name."""
        return self._look().commands()

    def boot_jobs(self) -> list[Job]:
        """Jobs of the plugins that are registered when the API server starts."""
        return [plugin.job(self._roots, None, [], self._debug) for plugin in self._look().at_boot()]

    def runtime_job(self, plugin: str, container: str) -> Job:
        """Job of one container's runtime helper. Raises ContainerError(notFound)."""
        arguments = ["--root", self._roots.bundle(container), "--uuid", container]
        return self._service(ServiceType.RUNTIME, plugin).job(self._roots, container, arguments, self._debug)

    def network_job(self, network: NetworkConfiguration, subnet: str, subnet_v6: str) -> Job:
        """Job of one network's helper. Raises ContainerError(notFound)."""
        plugin = self._service(ServiceType.NETWORK, network.plugin)
        arguments = ["--id", network.name, "--service-identifier", plugin.service(network.name)]
        arguments += ["--mode", network.mode.value, "--subnet", subnet, "--subnet-v6", subnet_v6]
        if self._domain:
            arguments += ["--domain", self._domain]
        for key, value in sorted(network.options.items()):
            arguments += ["--option", f"{key}={value}"]
        return plugin.job(self._roots, network.name, arguments, self._debug)

    def _service(self, kind: ServiceType, name: str) -> Plugin:
        found = _named(self._known, kind, name) or _named(self._look(), kind, name)
        if found is None:
            raise not_found(f"unable to locate {kind.value} plugin {name}: no plugin of that name is installed")
        return found

    def _look(self) -> Plugins:
        self._known = discover(self._roots)
        for warning in self._known.warnings:
            _log.warning("%s", warning)
        return self._known


def _named(plugins: Plugins | None, kind: ServiceType, name: str) -> Plugin | None:
    candidates = plugins.of_type(kind) if plugins is not None else []
    return next((plugin for plugin in candidates if plugin.name == name), None)
