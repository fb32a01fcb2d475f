"""Plugins: what a folder's `config.toml` says (contract 4.2, 4.3), the names of their services, and their jobs."""

import enum
import os
import sys
import tomllib
from dataclasses import dataclass, field
from typing import Any

from container.errors import ContainerError, invalid_argument, not_found, os_reason
from container.model import codec
from container.model.job import Job
from container.model.plugin import CLIPlugin
from container.paths import Roots
from container.supervisor.launch import service_environment

_RUNTIME_STOP_SECONDS = 30.0
_STOP_SECONDS = 10.0


class ServiceType(enum.Enum):
    """What a service is for; it is part of the service's name."""

    RUNTIME = "runtime"
    NETWORK = "network"
    CORE = "core"
    AUXILIARY = "auxiliary"


@dataclass(frozen=True)
class PluginService:
    """One entry of `servicesConfig.services`."""

    type: ServiceType
    description: str | None = None


@dataclass(frozen=True)
class ServicesConfig:
    """`load_at_boot`: registered when the API server starts; `run_at_load`: started at once, else on first use."""

    load_at_boot: bool
    run_at_load: bool
    services: list[PluginService]
    default_arguments: list[str]


@dataclass(frozen=True)
class PluginConfig:
    """A `config.toml`. `name` and `module` are ours, for plugins that are Python modules instead of programs."""

    abstract: str
    author: str | None = None
    version: str | None = None
    services_config: ServicesConfig | None = None
    name: str | None = None
    module: str | None = None


@dataclass(frozen=True)
class Plugin:
    """A plugin that can be started: `program` with `arguments` before all others."""

    name: str
    config: PluginConfig
    folder: str
    program: str
    arguments: list[str] = field(default_factory=list)
    module: str | None = None  # the Python module that these run, if they do

    @property
    def services(self) -> ServicesConfig:
        """The configuration of its services. Raises ContainerError(invalid-argument) for a CLI plugin."""
        if self.config.services_config is None:
            raise invalid_argument(f"the plugin {self.name} has no services")
        return self.config.services_config

    @property
    def is_command(self) -> bool:
        """Whether it is a CLI plugin: `container <name>` runs it."""
        return self.config.services_config is None

    def has_type(self, kind: ServiceType) -> bool:
        """Whether one of its services is of that type."""
        config = self.config.services_config
        return config is not None and any(service.type is kind for service in config.services)

    def service(self, instance: str | None = None) -> str:
        """Name of its (first) service: `io.container.<type>.<plugin>[.<instance>]`."""
        name = f"io.container.{self.services.services[0].type.value}.{self.name}"
        return name if instance is None else f"{name}.{instance}"

    def job(self, roots: Roots, instance: str | None, arguments: list[str], debug: bool = False) -> Job:
        """The job that runs an instance: `start [--debug] [--resources DIR]`, `arguments`, the default arguments.

        It starts when somebody connects to its socket, at once with `runAtLoad`; such a service is kept alive, a
        runtime's is not: it ends with its container.
        """
        config, service = self.services, self.service(instance)
        runtime = self.has_type(ServiceType.RUNTIME)
        resources = os.path.join(self.folder, "resources")
        options = ["--debug"] if debug else []
        if os.path.isdir(resources):
            options += ["--resources", resources]
        return Job(
            label=service,
            program=self.program,
            arguments=[*self.arguments, "start", *options, *arguments, *config.default_arguments],
            environment=service_environment(roots),
            sockets=[roots.socket(service)],
            keep_alive=config.run_at_load and not runtime,
            run_at_load=config.run_at_load,
            stop_timeout=_RUNTIME_STOP_SECONDS if runtime else _STOP_SECONDS,
            log_path=os.path.join(roots.log, f"{service}.log"),
            module=self.module if runtime else None,
        )


@dataclass(frozen=True)
class Plugins:
    """What `discover` found; `warnings` are lines for the log, one per folder that was passed over."""

    plugins: list[Plugin]  # sorted by name
    warnings: list[str] = field(default_factory=list)

    def get(self, name: str) -> Plugin:
        """The plugin of that name. Raises ContainerError(invalid-argument) for no name, (not-found)."""
        check_name(name)
        for plugin in self.plugins:
            if plugin.name == name:
                return plugin
        raise not_found(f"plugin {name} not found")

    def of_type(self, kind: ServiceType) -> list[Plugin]:
        """The plugins with a service of that type."""
        return [plugin for plugin in self.plugins if plugin.has_type(kind)]

    def at_boot(self) -> list[Plugin]:
        """The plugins whose service is registered when the API server starts."""
        return [plugin for plugin in self.plugins if not plugin.is_command and plugin.services.load_at_boot]

    def commands(self) -> list[CLIPlugin]:
        """The CLI plugins, sorted by name."""
        return [
            CLIPlugin(plugin.name, plugin.config.abstract, plugin.program)
            for plugin in self.plugins
            if plugin.is_command
        ]


def check_name(name: str) -> None:
    """A plugin's name is one path component. Raises ContainerError(invalid-argument)."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise invalid_argument(f"invalid plugin name {name}")


def load_config(path: str) -> PluginConfig:
    """Read a `config.toml`, or a legacy `config.json`. Raises ContainerError(invalid-argument) with path and reason."""
    try:
        with open(path, "rb") as file:
            data = _parse(path, file.read())
        config = codec.decode(PluginConfig, data)
    except OSError as error:
        raise invalid_argument(f"failed to read {path}: {os_reason(error)}") from error
    except (ValueError, ContainerError) as error:
        raise invalid_argument(f"invalid plugin configuration {path}: {error}") from error
    if config.services_config is not None and not config.services_config.services:
        raise invalid_argument(f"invalid plugin configuration {path}: servicesConfig.services is empty")
    return config


def _parse(path: str, content: bytes) -> dict[str, Any]:
    text = content.decode()
    if not path.endswith(".json"):
        return tomllib.loads(text)
    import json

    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("it is not an object")
    return data


def folder_plugin(folder: str, config: PluginConfig) -> Plugin:
    """The plugin in a folder: `bin/<name>`, or this Python running the module that its configuration names.

    Raises ContainerError(invalid-argument) when it has no program.
    """
    name = config.name or os.path.basename(folder)
    check_name(name)
    if config.module is not None:
        return module_plugin(name, config, folder, config.module)
    program = os.path.join(folder, "bin", name)
    if not os.path.isfile(program) or not os.access(program, os.X_OK):
        raise invalid_argument(f"the plugin {folder} has no executable {program}")
    return Plugin(name, config, folder, program)


def module_plugin(name: str, config: PluginConfig, folder: str, module: str) -> Plugin:
    """A plugin that is a Python module, run by this interpreter and not imported before."""
    return Plugin(name, config, folder, sys.executable, ["-P", "-m", module], module)
